//! The admin port's services and pages.
