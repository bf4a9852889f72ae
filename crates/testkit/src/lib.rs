//! Tests for polymq services and adapters.
