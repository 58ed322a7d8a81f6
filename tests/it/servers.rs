//! The servers behave as their checklists say.
