//! The bounce classifier: what did the reply mean, whose problem is it, what now?
