//! Whole-system tests of zc.
