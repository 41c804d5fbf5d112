//! The section `sweep`.

use std::collections::BTreeMap;

use super::{Judge, seconds};
use crate::config::file;
use crate::domain::Rhythm;
use crate::receiver::parse::Shape;
use crate::store::Retention;
use crate::sweep;

impl Judge<'_> {
    pub(super) fn sweep(
        &mut self,
        file: &file::Sweep,
        shapes: &BTreeMap<String, Shape>,
        retention: Retention,
    ) -> sweep::Settings {
        if !matches!(shapes.get(&file.missed_source), Some(Shape::Seam)) {
            self.say("sweep.missed_source", "there is no source of this name and of kind seam");
        }
        self.at_least("sweep.looks_waiting_max", file.looks_waiting_max, 1);
        sweep::Settings {
            looks_waiting_max: file.looks_waiting_max,
            look_again: seconds(file.look_most_seconds),
            missed_every: seconds(file.missed_every_seconds),
            missed_overlap: seconds(file.missed_overlap_seconds),
            retention,
            ..sweep::Settings::default()
        }
    }

    /// When the worker has what it handled looked at again.
    pub(super) fn rhythm(&mut self, file: &file::Sweep) -> Rhythm {
        self.at_least("sweep.look_first_seconds", file.look_first_seconds, 1);
        self.at_least("sweep.look_most_seconds", file.look_most_seconds, file.look_first_seconds);
        self.at_least("sweep.refresh_seconds", file.refresh_seconds, 60);
        self.at_least("sweep.overdue_seconds", file.overdue_seconds, 1);
        Rhythm {
            first: seconds(file.look_first_seconds),
            most: seconds(file.look_most_seconds),
            refresh: seconds(file.refresh_seconds),
            overdue_after: seconds(file.overdue_seconds),
        }
    }
}
