//! The styles of the view.

use ratatui::style::{Color, Modifier, Style};

/// How things look: without colours where they are not wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) colours: bool,
}

impl Look {
    pub(super) fn plain(self) -> Style {
        Style::new()
    }

    pub(super) fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    /// What must be seen.
    pub(super) fn alarm(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn head(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
