//! [`RuleTexts`]: what people wrote about the rules of a policy.

use std::ops::Range;

use super::trie::RuleId;

/// What people wrote about a rule. Empty texts are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleText<'a> {
    /// What the names are for; for a deny rule, why they are denied.
    pub purpose: &'a str,
    /// Who asked for the rule.
    pub owner: &'a str,
    /// The request or change that introduced it.
    pub ticket: &'a str,
}

/// Texts in one string; most rules of long lists have none.
#[derive(Debug, Default)]
pub(super) struct RuleTexts {
    text: String,
    /// By rule id: the ends of the three texts in [`RuleTexts::text`]. The first starts where the entry before it ends.
    places: Vec<(RuleId, [u32; 3])>,
}

impl RuleTexts {
    /// Adds the texts of a rule. Ids increase from call to call.
    pub(super) fn push(&mut self, id: RuleId, text: RuleText<'_>) {
        if text == RuleText::default() {
            return;
        }
        let ends = [text.purpose, text.owner, text.ticket].map(|part| {
            self.text.push_str(part);
            self.text.len()
        });
        match ends.map(u32::try_from) {
            [Ok(purpose), Ok(owner), Ok(ticket)] => self.places.push((id, [purpose, owner, ticket])),
            // Over 4 GiB of texts: the rule goes without.
            _ => self.text.truncate(self.places.last().map_or(0, |(_, ends)| ends[2] as usize)),
        }
    }

    /// The texts of a rule.
    pub(super) fn get(&self, id: RuleId) -> RuleText<'_> {
        let Ok(index) = self.places.binary_search_by_key(&id, |(id, _)| *id) else {
            return RuleText::default();
        };
        let start = index.checked_sub(1).map_or(0, |before| self.places[before].1[2]);
        let [purpose, owner, ticket] = self.places[index].1;
        let part =
            |range: Range<u32>| self.text.get(range.start as usize..range.end as usize).unwrap_or_default();
        RuleText { purpose: part(start..purpose), owner: part(purpose..owner), ticket: part(owner..ticket) }
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.places.shrink_to_fit();
    }

    pub(super) fn heap_size(&self) -> usize {
        self.text.capacity() + self.places.capacity() * size_of::<(RuleId, [u32; 3])>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_gets_its_own_texts() {
        let text = |purpose, owner, ticket| RuleText { purpose, owner, ticket };
        let given = [
            (1, text("images", "", "NET-1")),
            (2, text("", "", "")),
            (5, text("", "team-ü", "")),
            (9, text("x", "y", "z")),
        ];
        let mut texts = RuleTexts::default();
        for (id, text) in given {
            texts.push(RuleId::numbered(id), text);
        }
        for (id, text) in given {
            assert_eq!(texts.get(RuleId::numbered(id)), text, "{id}");
        }
        assert_eq!(texts.get(RuleId::numbered(3)), RuleText::default());
    }
}
