//! The configuration: `homeostat.yaml`.
