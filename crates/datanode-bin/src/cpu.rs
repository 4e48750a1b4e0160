//! Whether this CPU has what the program was built for.
