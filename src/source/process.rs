//! Child processes, whose complaints are kept (but not without bound) and who never outlive us.
