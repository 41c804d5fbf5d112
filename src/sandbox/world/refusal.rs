//! Why the world says no. How a refusal looks on the wire is `answer`'s business.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `<resource>_not_found`; the text is a person's name of the resource.
    NotFound { resource: &'static str, name: &'static str },
    /// The parameters cannot be meant as they are: `invalid_input`.
    Invalid { issues: Vec<Issue> },
    /// Another 400 with an error type of its own.
    Bad { kind: &'static str, message: String },
    /// It is taken already: 409.
    Conflict { kind: &'static str, message: String },
}

/// One thing that is wrong with the parameters. An empty path speaks of all of them together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) path: Vec<String>,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn not_found(resource: &'static str, name: &'static str) -> Self {
        Self::NotFound { resource, name }
    }

    /// One field is wrong, for a reason that only the handler could know.
    pub(crate) fn field(name: &str, message: impl Into<String>) -> Self {
        Self::Invalid { issues: vec![Issue { path: vec![name.to_owned()], message: message.into() }] }
    }

    /// The parameters contradict each other.
    pub(crate) fn together(message: impl Into<String>) -> Self {
        Self::Invalid { issues: vec![Issue { path: Vec::new(), message: message.into() }] }
    }

    pub(crate) fn bad(kind: &'static str, message: impl Into<String>) -> Self {
        Self::Bad { kind, message: message.into() }
    }
}
