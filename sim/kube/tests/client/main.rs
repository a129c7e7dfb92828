//! The face against real clients: `kube` 5 and `kubectl`, and its controllers in virtual time.
//!
//! `flows` need no controller hooks: with HOMEOSTAT_TEST_KUBECONFIG they run against that server instead of the face.

mod face;
mod flows;
mod harness;
mod kubectl;
mod models;
mod operators;
mod twins;
