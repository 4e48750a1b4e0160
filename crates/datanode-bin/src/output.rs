//! Tables and JSON on stdout.
