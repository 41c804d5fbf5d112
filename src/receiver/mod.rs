//! Verifies and reads webhooks.
