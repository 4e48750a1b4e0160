//! Start-up progress for people: a bar on a terminal, a line now and then otherwise.
