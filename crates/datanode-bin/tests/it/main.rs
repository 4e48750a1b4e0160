//! The program from the outside.

mod config;
