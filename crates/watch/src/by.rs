//! By what a report's rows are told apart.

use std::str::FromStr;

use posthaste_tallies::Dimension;

/// By what a report's rows are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By what the mail is about.
    Of(Dimension),
    /// By the hour of the event.
    Hour,
    /// By its day, in the zone of the tallies.
    Day,
}

impl By {
    /// The word for it in commands and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Of(dimension) => dimension.as_str(),
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

impl From<Dimension> for By {
    fn from(dimension: Dimension) -> Self {
        Self::Of(dimension)
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            _ => text.parse().map(Self::Of).map_err(|error: String| format!("{error}, hour, day")),
        }
    }
}
