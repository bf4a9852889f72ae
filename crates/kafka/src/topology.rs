//! PLACEHOLDER (admin helper).
