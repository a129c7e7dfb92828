//! The network faces of the plant.
