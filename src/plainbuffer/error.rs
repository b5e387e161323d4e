//! What can be wrong with bytes that should be PlainBuffer or a row matrix.

/// Where decoding stopped and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decoded at byte {offset}: {fault}")]
pub struct DecodeError {
    /// Bytes from the start of the input to the part that is wrong.
    pub offset: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a part of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The first four bytes are not those of the format.
    #[error("wrong header")]
    Header,
    /// The input ends inside a row.
    #[error("the input ends too early")]
    Truncated,
    /// Another tag than the grammar has here.
    #[error("tag {found:#04x} where {expected} is expected")]
    Tag {
        /// What the grammar has here.
        expected: &'static str,
        /// The byte found.
        found: u8,
    },
    /// A name or a STRING that is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A type code that does not exist, or not in this place.
    #[error("type code {0:#04x} is not allowed here")]
    TypeCode(u8),
    /// A length that contradicts the type or the other length.
    #[error("lengths contradict each other")]
    Length,
    /// A BOOLEAN other than 0 and 1.
    #[error("boolean byte {0:#04x}")]
    Boolean(u8),
    /// An operation code that does not exist.
    #[error("cell operation {0:#04x} does not exist")]
    Operation(u8),
    /// Value, operation and timestamp in a combination that means nothing.
    #[error("cell with a meaningless combination of value, operation and timestamp")]
    CellShape,
    /// More primary key columns than a table can have.
    #[error("more than four primary key columns")]
    TooManyKeyColumns,
    /// More columns than a request for a row matrix can name.
    #[error("more than 1,024 columns")]
    TooManyColumns,
    /// A cell does not match its checksum.
    #[error("cell checksum is {stored:#04x}, the bytes give {computed:#04x}")]
    CellChecksum {
        /// As stored.
        stored: u8,
        /// As computed from the bytes.
        computed: u8,
    },
    /// A row does not match its checksum.
    #[error("row checksum is {stored:#04x}, the cells give {computed:#04x}")]
    RowChecksum {
        /// As stored.
        stored: u8,
        /// As computed from the cells.
        computed: u8,
    },
    /// A row matrix does not match its checksum.
    #[error("checksum is {stored:#04x}, the bytes give {computed:#04x}")]
    MatrixChecksum {
        /// As stored.
        stored: u8,
        /// As computed from all bytes before it.
        computed: u8,
    },
    /// A part of a row matrix does not begin where the header says.
    #[error("the header says that this part begins elsewhere")]
    Offset,
    /// Two attribute columns of a row matrix have the same name.
    #[error("two columns have the same name")]
    RepeatedColumn,
    /// Bytes after the end.
    #[error("bytes after the end")]
    Trailing,
    /// A row where a bare primary key is expected.
    #[error("more than a primary key")]
    NotAKey,
}

/// A fault and how many bytes of the input were left when it was found.
///
/// The parsing functions see only what is left; the caller, who knows the whole, makes the offset.
pub(super) struct Stop {
    left: usize,
    fault: Fault,
}

impl Stop {
    #[cold]
    pub(super) fn into_error(self, input_size: usize) -> DecodeError {
        DecodeError { offset: input_size.saturating_sub(self.left), fault: self.fault }
    }
}

/// What was read, and what is left behind it.
pub(super) type Parsed<'a, T> = Result<(T, &'a [u8]), Stop>;

/// Stops at the start of `at`.
#[cold]
#[inline(never)]
pub(super) fn stop<T>(at: &[u8], fault: Fault) -> Result<T, Stop> {
    Err(Stop { left: at.len(), fault })
}

/// Stops at the start of `at`, where `expected` should be.
#[cold]
#[inline(never)]
pub(super) fn stop_at_tag<T>(at: &[u8], expected: &'static str) -> Result<T, Stop> {
    match at.first() {
        Some(&found) => stop(at, Fault::Tag { expected, found }),
        None => stop(at, Fault::Truncated),
    }
}

/// Stops inside a part that starts at `at` with the right tag: it must be cut off, or the tag is wrong after all.
#[cold]
#[inline(never)]
pub(super) fn stop_in<T>(at: &[u8], tag: u8, expected: &'static str) -> Result<T, Stop> {
    match at.first() {
        Some(&found) if found != tag => stop(at, Fault::Tag { expected, found }),
        _ => stop(at, Fault::Truncated),
    }
}

/// Stops at the start of `inside`, which is followed by `after`.
#[cold]
pub(super) fn stop_within<T>(inside: &[u8], after: &[u8], fault: Fault) -> Result<T, Stop> {
    Err(Stop { left: inside.len() + after.len(), fault })
}
