//! The controls of a recording in the live view.

use super::keys::Action;

/// Windows per interval of the recording.
const SPEEDS: [u32; 6] = [1, 2, 5, 10, 30, 60];
/// Frames per long step.
const LONG_STEP: i64 = 60;

/// A change of the window that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seek {
    /// By this number of windows.
    By(i64),
    /// To the time that the user typed.
    Time(String),
    /// To the first window.
    First,
    /// To the last window.
    Last,
}

/// The state of the controls.
#[derive(Clone, Debug, Default)]
pub struct Playback {
    /// Whether one window after the other is shown.
    pub playing: bool,
    speed: usize,
    /// A change that has not been made yet.
    pub seek: Option<Seek>,
    /// The position in the recording, for the second line.
    pub position: String,
    /// Why the last change was not made.
    pub message: String,
}

impl Playback {
    /// Windows per interval of the recording.
    pub fn speed(&self) -> u32 {
        SPEEDS.get(self.speed).copied().unwrap_or(1)
    }

    /// The second line of the screen.
    pub(super) fn line(&self) -> String {
        let state = match (self.playing, self.speed()) {
            (false, _) => "stopped".to_owned(),
            (true, 1) => "playing".to_owned(),
            (true, speed) => format!("playing, {speed} times as fast"),
        };
        let message = if self.message.is_empty() { "" } else { ": " };
        format!("replay {}, {state}{message}{}", self.position, self.message)
    }

    /// Performs an action of a key; `false` if it is none of these.
    pub(super) fn act(&mut self, action: Action) -> bool {
        let seek = match action {
            Action::Play => {
                self.playing = !self.playing;
                return true;
            }
            Action::Faster => {
                self.speed = (self.speed + 1).min(SPEEDS.len() - 1);
                return true;
            }
            Action::Slower => {
                self.speed = self.speed.saturating_sub(1);
                return true;
            }
            Action::StepBack => Seek::By(-1),
            Action::StepForward => Seek::By(1),
            Action::FarBack => Seek::By(-LONG_STEP),
            Action::FarForward => Seek::By(LONG_STEP),
            Action::Start => Seek::First,
            Action::End => Seek::Last,
            _ => return false,
        };
        // A step is meant from the window that is shown.
        if matches!(seek, Seek::By(-1 | 1)) {
            self.playing = false;
        }
        self.seek = Some(match (self.seek.take(), seek) {
            (Some(Seek::By(before)), Seek::By(more)) => Seek::By(before.saturating_add(more)),
            (_, seek) => seek,
        });
        true
    }
}
