//! llmpt.
