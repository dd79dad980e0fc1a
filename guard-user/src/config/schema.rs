//! What a kind of TOML document can have: the form of the tables that readers, hints and documentation are made from.

/// Everything that one kind of TOML document can have.
#[derive(Debug)]
pub struct Schema {
    /// Its tables.
    pub sections: &'static [Section],
    /// Their keys.
    pub keys: &'static [Key],
}

/// A table of a document.
#[derive(Debug)]
pub struct Section {
    /// Its dotted name, such as `pin.select`; empty for the keys before the first table.
    pub path: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// What it is for.
    pub meaning: &'static str,
}

/// How a section is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The keys before the first header.
    Root,
    /// `[name]`, at most once.
    Table,
    /// `[[name]]`, once for each entry.
    Entries,
    /// `[name]`, or `[[name]]` once for each entry.
    TableOrEntries,
    /// `[name]`, at most once, with keys that the operator chooses.
    Open,
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    /// The section that it belongs to.
    pub section: &'static str,
    /// Its name; `NAME` where the operator chooses it.
    pub name: &'static str,
    /// The TOML type.
    pub kind: Kind,
    /// Whether it must be there, and what counts where it is not.
    pub need: Need,
    /// A value as it is written in the file.
    pub example: &'static str,
    /// What it means and what values it takes, in Markdown.
    pub meaning: &'static str,
}

/// The TOML type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A date and time with its offset from UTC (RFC 3339).
    Time,
    /// A date, or a date and time with its offset from UTC.
    Date,
    /// A list of strings with at least one value.
    List,
    /// A list of strings that may be empty.
    ListOrNone,
    /// A list of strings and whole numbers with at least one value.
    NamesOrNumbers,
}

impl Kind {
    /// The type in words, with an article.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Boolean => "true or false",
            Self::Integer => "a whole number",
            Self::Time => "a date and time with its zone",
            Self::Date => "a date, or a date and time with its zone",
            Self::List | Self::ListOrNone => "a list of strings",
            Self::NamesOrNumbers => "a list of strings and numbers",
        }
    }
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It must.
    Required,
    /// Without it this value counts, written as in the file.
    Default(&'static str),
    /// Without it: this, in words.
    Optional(&'static str),
}

impl Schema {
    /// The key of this name in this section.
    pub(crate) fn find(&self, section: &str, name: &str) -> Option<&'static Key> {
        let open = self.is_open(section);
        self.keys.iter().find(|key| key.section == section && (open || key.name == name))
    }

    /// Whether the writer of the document chooses the keys of this section.
    pub(crate) fn is_open(&self, section: &str) -> bool {
        self.sections.iter().any(|s| s.path == section && s.shape == Shape::Open)
    }

    /// How a section's header is written.
    pub(crate) fn header(&self, section: &str) -> String {
        match self.sections.iter().find(|s| s.path == section).map(|s| s.shape) {
            Some(Shape::Root) => "the top of the file, before any [header]".to_owned(),
            Some(Shape::Entries) => format!("[[{section}]]"),
            _ => format!("[{section}]"),
        }
    }
}
