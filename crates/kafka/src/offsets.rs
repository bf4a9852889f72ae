//! PLACEHOLDER (admin helper): committed and initial offsets.
