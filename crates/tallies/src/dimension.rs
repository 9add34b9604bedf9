//! By what is counted.

macro_rules! dimensions {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal;)*) => {
        /// By what is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Dimension { $($(#[$doc])* $name = $number,)* }

        impl Dimension {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word for it in commands and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }

        impl std::str::FromStr for Dimension {
            type Err = String;
            /// Reads the word, with underscores or hyphens.
            fn from_str(text: &str) -> Result<Self, String> {
                match text.replace('-', "_").as_str() {
                    $($word => Ok(Self::$name),)*
                    _ => Err(format!("{text:?} is none of: {}", Self::ALL.iter().map(|d| d.as_str()).collect::<Vec<_>>().join(", "))),
                }
            }
        }
    };
}

// The numbers stand in the database: they are never given to something else. They rise by one, from 0.
dimensions! {
    /// Nothing: one key, `all`.
    All = 0, "all";
    /// The provider that receives.
    Provider = 1, "provider";
    /// The source that sends.
    Source = 2, "source";
    /// The stream.
    Stream = 3, "stream";
    /// The user who submitted the message.
    User = 4, "user";
    /// The domain of the From field.
    FromDomain = 5, "from_domain";
    /// The recipient's domain.
    Domain = 6, "domain";
    /// The tag; a message with several counts in each.
    Tag = 7, "tag";
    /// What a failure means.
    Class = 8, "class";
    /// Stream and provider.
    StreamProvider = 9, "stream_provider";
    /// Source and provider.
    SourceProvider = 10, "source_provider";
    /// The rule that knew a refusal, and the provider.
    RuleProvider = 11, "rule_provider";
    /// The reason of a refusal at the door.
    Reason = 12, "reason";
    /// User and stream.
    UserStream = 13, "user_stream";
}

impl Dimension {
    /// Whether times are kept: not where there are so many keys that nobody looks at theirs.
    pub(crate) fn keeps_times(self) -> bool {
        matches!(self, Self::All | Self::Provider | Self::Source | Self::Stream)
    }

    /// Whether keys are pairs.
    pub fn is_pair(self) -> bool {
        matches!(self, Self::StreamProvider | Self::SourceProvider | Self::RuleProvider | Self::UserStream)
    }
}

/// Stands between the two halves of a pair's key.
pub const PAIR: char = '\t';

/// The key of a pair.
pub fn pair(first: &str, second: &str) -> String {
    format!("{first}{PAIR}{second}")
}
