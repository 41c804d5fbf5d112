//! A Seam-compatible sandbox.
