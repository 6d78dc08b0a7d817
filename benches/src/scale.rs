//! Many copies at once, and one long one.
