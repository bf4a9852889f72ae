//! PLACEHOLDER (consume helper): tracks, tokens, watermarks.
