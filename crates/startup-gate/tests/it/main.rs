//! The gate from outside: every policy on a paused clock, and what must not
//! compile.

mod admission;
mod cancel;
mod compile_fail;
mod down;
mod examples;
mod join;
mod machine;
mod order;
mod pipeline;
mod policy;
mod report;
mod stall;
mod support;
mod waiver;
