//! What the API asks of the owner of the settings, done.

use std::sync::Arc;

use tracing::info;

use super::Running;
use crate::api::asks::{Ask, NotChanged};
use crate::api::settings::View;
use crate::changed::{self, Patch};
use crate::kept;

impl Running {
    /// Does what is asked, if whoever asks still waits.
    pub(super) fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Settings { patch, by, answer } if !answer.is_closed() => {
                // Whoever has gone meanwhile finds it done.
                let _ = answer.send(self.change_settings(&patch, &by));
            }
            Ask::List { which, add, remove, by, answer } if !answer.is_closed() => {
                let _ = answer.send(self.change_list(which, add, remove, &by));
            }
            Ask::Settings { .. } | Ask::List { .. } => {}
        }
    }

    /// Changes settings: all of them, or none if one is wrong or they cannot be kept. What a reload
    /// does with files is done only where a change asks for it: they may be large.
    fn change_settings(&mut self, patch: &Patch, by: &str) -> Result<(), NotChanged> {
        let Some(file) = self.sources.changed.clone() else {
            return Err(NotChanged::NotKept("there is no process.data_dir".into()));
        };
        let wanted = changed::text(&self.latest, patch).map_err(NotChanged::Wrong)?;
        let config = self.latest.with_changed(&file, &wanted).map_err(NotChanged::Wrong)?;
        let settings = super::meaning(&config).map_err(|error| NotChanged::Wrong(vec![error]))?;
        // What is kept is what was understood, not what was sent.
        let text = changed::text(&config, &Patch::new()).map_err(NotChanged::Wrong)?;
        let written = kept::write(&file, &text);
        written.map_err(|error| NotChanged::NotKept(format!("{}: {error}", file.display())))?;
        for key in self.latest.values.changed(&config.values) {
            let (from, to) = (self.latest.written(key), config.written(key));
            info!("{} was {from} and is now {to}, changed by {by}", key.name);
        }
        let only_allowed = self.settings.only_allowed;
        let locations = self.settings.locations.wanted;
        self.take_settings(config, settings);
        if self.settings.only_allowed == only_allowed {
            let access = Arc::clone(&self.tracker.rules().access);
            self.tracker.set_rules(self.settings.rules(access));
        } else {
            self.use_lists();
        }
        if self.settings.locations.wanted != locations {
            self.read_locations();
        }
        Ok(())
    }

    /// Lets the API show what is in force.
    pub(super) fn show_settings(&self) {
        self.api.show_settings(View::new(&self.started, &self.latest));
    }
}
