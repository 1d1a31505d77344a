//! Bencode as BEP 3 has it, read in one pass over the bytes and written for metainfo.
//!
//! Only the canonical form is read: keys sorted and unique, integers and lengths without leading zeros. The
//! reader allocates nothing and hands out slices of its input, so what it costs is bounded by what came; it
//! must never build a tree of values.

/// Most values inside one another.
pub(super) const MAX_DEPTH: usize = 96;

/// Where and how bytes stop being the bencode that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Offset of the byte.
    pub(super) offset: usize,
    /// What is wrong there.
    pub(super) what: &'static str,
}

/// A position in bencoded bytes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// At the first byte of `data`.
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, depth: 0 }
    }

    /// Offset of the next byte.
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// Checks that nothing is left.
    pub(super) const fn finish(&self) -> Result<(), Malformed> {
        if self.at < self.data.len() {
            return Err(self.malformed("bytes after the end"));
        }
        Ok(())
    }

    /// Reads a dictionary. `each` is called with each key and must read exactly its value.
    pub(super) fn dictionary<E: From<Malformed>>(
        &mut self,
        mut each: impl FnMut(&'a [u8], &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'd', "a dictionary was expected")?;
        let mut last: Option<&[u8]> = None;
        while !self.close() {
            let at = self.at;
            let key = self.string()?;
            if last.is_some_and(|last| last >= key) {
                return Err(Malformed { offset: at, what: "keys are not sorted or not unique" }.into());
            }
            last = Some(key);
            each(key, self)?;
        }
        Ok(())
    }

    /// Reads a list. `each` is called for each item and must read exactly that.
    pub(super) fn list<E: From<Malformed>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'l', "a list was expected")?;
        while !self.close() {
            each(self)?;
        }
        Ok(())
    }

    /// Reads a string of bytes.
    pub(super) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        let digits = self.digits("a string was expected")?;
        if self.peek() != Some(b':') {
            return Err(self.malformed("':' was expected after the length of a string"));
        }
        self.at += 1;
        let end = number(digits)
            .and_then(|len| usize::try_from(len).ok())
            .and_then(|len| self.at.checked_add(len))
            .filter(|end| *end <= self.data.len());
        let Some(end) = end else {
            return Err(Malformed { offset: start, what: "a string is longer than what is left" });
        };
        let string = &self.data[self.at..end];
        self.at = end;
        Ok(string)
    }

    /// Reads an integer that must not be negative.
    pub(super) fn unsigned(&mut self) -> Result<u64, Malformed> {
        let start = self.at;
        let (negative, digits) = self.integer()?;
        match number(digits) {
            Some(value) if !negative => Ok(value),
            _ => Err(Malformed { offset: start, what: "an integer from 0 to 2^64 - 1 was expected" }),
        }
    }

    /// Whether the next value is a string.
    pub(super) fn is_string(&self) -> bool {
        self.peek().is_some_and(|byte| byte.is_ascii_digit())
    }

    /// Reads any value.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'd') => self.dictionary(|_, reader| reader.skip()),
            Some(b'l') => self.list(Self::skip),
            Some(b'i') => self.integer().map(drop),
            _ => self.string().map(drop),
        }
    }

    fn integer(&mut self) -> Result<(bool, &'a [u8]), Malformed> {
        if self.peek() != Some(b'i') {
            return Err(self.malformed("an integer was expected"));
        }
        self.at += 1;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let digits = self.digits("a digit was expected")?;
        if negative && digits == b"0" {
            return Err(self.malformed("an integer is minus zero"));
        }
        if self.peek() != Some(b'e') {
            return Err(self.malformed("'e' was expected after an integer"));
        }
        self.at += 1;
        Ok((negative, digits))
    }

    fn digits(&mut self, expected: &'static str) -> Result<&'a [u8], Malformed> {
        let rest = &self.data[self.at..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len == 0 {
            return Err(self.malformed(expected));
        }
        if len > 1 && rest[0] == b'0' {
            return Err(self.malformed("a number has leading zeros"));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn open(&mut self, tag: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(tag) {
            return Err(self.malformed(expected));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("values are nested too deeply"));
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self) -> bool {
        let closed = self.peek() == Some(b'e');
        if closed {
            self.at += 1;
            self.depth -= 1;
        }
        closed
    }

    fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { offset: self.at, what }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends a string of bytes.
pub(super) fn write_string(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(string.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(string);
}

/// Appends an integer.
pub(super) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    out.push(b'i');
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'e');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<(), &'static str> {
        let mut reader = Reader::new(data);
        reader.skip().and_then(|()| reader.finish()).map_err(|e| e.what)
    }

    #[test]
    fn canonical_bencode_is_read() {
        for data in ["i0e", "i-1e", "i340282366920938463463374607431768211456e", "0:", "le", "d1:ai1e2:aale1:bdee"]
        {
            assert_eq!(read(data.as_bytes()), Ok(()), "{data}");
        }
    }

    #[test]
    fn anything_else_is_refused_by_its_fault() {
        for (data, what) in [
            ("", "a string was expected"),
            ("x", "a string was expected"),
            ("i00e", "a number has leading zeros"),
            ("i-0e", "an integer is minus zero"),
            ("ie", "a digit was expected"),
            ("i1", "'e' was expected after an integer"),
            ("01:a", "a number has leading zeros"),
            ("2:a", "a string is longer than what is left"),
            ("99999999999999999999999:a", "a string is longer than what is left"),
            ("18446744073709551615:a", "a string is longer than what is left"),
            ("1", "':' was expected after the length of a string"),
            ("d1:bi1e1:ai1ee", "keys are not sorted or not unique"),
            ("d1:ai1e1:ai1ee", "keys are not sorted or not unique"),
            ("di1ei1ee", "a string was expected"),
            ("d1:a", "a string was expected"),
            ("i1ei1e", "bytes after the end"),
        ] {
            assert_eq!(read(data.as_bytes()), Err(what), "{data}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| ["l".repeat(depth), "e".repeat(depth)].concat();
        assert_eq!(read(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert_eq!(read(nested(MAX_DEPTH + 1).as_bytes()), Err("values are nested too deeply"));
        assert_eq!(read("l".repeat(1_000_000).as_bytes()), Err("values are nested too deeply"));
    }

    #[test]
    fn an_unsigned_integer_fits_64_bits() {
        for (data, want) in
            [("i18446744073709551615e", Ok(u64::MAX)), ("i18446744073709551616e", Err(0)), ("i-1e", Err(0))]
        {
            assert_eq!(Reader::new(data.as_bytes()).unsigned().map_err(|e| e.offset), want);
        }
    }
}
