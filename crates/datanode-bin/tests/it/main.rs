//! The program from the outside.

mod config;
mod node;
mod serve;
