//! ExtentService: the data.
