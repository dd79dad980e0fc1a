//! Policy to tables.
