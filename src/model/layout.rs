//! Which of a flat list of tokens belong together.

/// Rows of one length, lying one after the other in the flat token list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    pub rows: usize,
    /// Tokens per row. Rows of other lengths are padded on the right by the caller or form a group of their own.
    pub len: usize,
}

impl Group {
    pub fn tokens(&self) -> usize {
        self.rows * self.len
    }
}

/// Token ids of several rows, flattened, and how they are laid out.
///
/// Padding on the right needs no mask: attention is causal, so no real token sees what stands after it, and the
/// loss is taken on labelled positions only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    pub input_ids: Vec<i32>,
    pub groups: Vec<Group>,
}

impl TokenBatch {
    /// One row.
    pub fn single(input_ids: Vec<i32>) -> Self {
        let len = input_ids.len();
        Self { input_ids, groups: vec![Group { rows: 1, len }] }
    }

    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Length of each row, in order.
    pub fn row_lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.groups.iter().flat_map(|group| std::iter::repeat_n(group.len, group.rows))
    }
}
