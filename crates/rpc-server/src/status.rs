//! The error table: each reason has one code, its details and its advice.
