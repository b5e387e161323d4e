//! Where to cut a range that somebody else is reading, found out by asking about its keys. Pure.

use crate::model::{KeyRange, PrimaryKey};

/// Places that are tried. Each one is halfway between the position and the highest key below the place before.
const TRIES: usize = 8;

/// The search for a place to cut, as questions and answers: halfway, by value, between the holder's position and the highest
/// key there is, when more than a page of rows comes behind. Where less does, the rows are closer to the position than
/// the keys tell, and the next place is much closer, by how fast the holder moves.
#[derive(Debug)]
pub(super) struct CutSearch {
    left: KeyRange,
    /// Behind it is a page of rows or less.
    top: Option<PrimaryKey>,
    halvings: u32,
    tries: usize,
}

/// What a [`CutSearch`] wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// The highest key in this range.
    LastKey(KeyRange),
    /// Whether the rows from here to the end of the candidate fill more than a page. If so, this is the place.
    PageFrom(PrimaryKey),
    /// There is no place.
    GiveUp,
}

impl CutSearch {
    /// In what is `left` of a range. Behind `top` is a page of rows or less, if that is known.
    pub(super) fn new(left: KeyRange, top: Option<PrimaryKey>) -> CutSearch {
        CutSearch { left, top, halvings: 1, tries: 0 }
    }

    /// What to find out next.
    pub(super) fn question(&self) -> Question {
        if self.tries == TRIES {
            return Question::GiveUp;
        }
        let Some(top) = &self.top else { return Question::LastKey(self.left.clone()) };
        let start = &self.left.start;
        let halfway = |top: PrimaryKey| KeyRange { start: start.clone(), end: top }.middle();
        let place = (0..self.halvings).try_fold(top.clone(), |top, _| halfway(top));
        // Keys that are too close for so many halvings may have a middle all the same.
        place.or_else(|| halfway(top.clone())).map_or(Question::GiveUp, Question::PageFrom)
    }

    /// The highest key that was asked for.
    pub(super) fn last_key_is(&mut self, key: PrimaryKey) {
        self.top = Some(key);
    }

    /// Behind `place` is a page or less, and before it are about so many pages, by the values of keys.
    pub(super) fn too_far(&mut self, place: PrimaryKey, pages_left: f64) {
        self.tries += 1;
        match pages_left.is_finite() {
            // The square root: from a million pages to a thousand, to thirty.
            true => {
                self.halvings = ((pages_left.max(1.0).log2() / 2.0).round() as u32).max(1);
                self.top = Some(place);
            }
            // The holder does not move on the scale of these keys; those below may have another scale.
            false => {
                self.left.end = place;
                self.top = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::KeyPart;

    fn at(value: i64) -> PrimaryKey {
        PrimaryKey(vec![KeyPart::Integer(value)])
    }

    #[test]
    fn rows_close_to_the_position_are_found_in_few_tries() {
        // A row on every key below a million, a thousand to a page; and one very far away.
        let mut search = CutSearch::new(KeyRange { start: at(0), end: at(1 << 62) }, Some(at(1 << 60)));
        for attempt in 0.. {
            let Question::PageFrom(place) = search.question() else { panic!("{:?}", search.question()) };
            let KeyPart::Integer(value) = place.0[0] else { panic!("{place}") };
            if value < 999_000 {
                assert!(attempt <= 5 && value > 3_000, "{value} in try {attempt}");
                break;
            }
            search.too_far(place, value as f64 / 1_000.0);
        }
    }

    #[test]
    fn a_holder_that_does_not_move_on_the_scale_of_its_keys_is_asked_for_another_one() {
        let key = |device: &str, time| PrimaryKey(vec![KeyPart::String(device.into()), time]);
        let start = key("a", KeyPart::Integer(5));
        let left = KeyRange { start: start.clone(), end: PrimaryKey::inf_max(2) };
        let mut search = CutSearch::new(left, Some(key("z", KeyPart::Integer(1))));
        let Question::PageFrom(place) = search.question() else { panic!("{:?}", search.question()) };
        search.too_far(place.clone(), f64::INFINITY);
        assert_eq!(search.question(), Question::LastKey(KeyRange { start, end: place }));
        search.last_key_is(key("a", KeyPart::Integer(9_005)));
        assert_eq!(search.question(), Question::PageFrom(key("a", KeyPart::Integer(4_505))));
    }

    #[test]
    fn keys_with_nothing_between_them_are_given_up() {
        let search = CutSearch::new(KeyRange { start: at(4), end: at(9) }, Some(at(5)));
        assert_eq!(search.question(), Question::GiveUp);
    }
}
