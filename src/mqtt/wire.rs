//! The numbers, strings and properties that packets are made of.

/// What came is not MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub &'static str);

/// Reads from the front of a packet's body.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The packet was longer than what is kept of it.
    cut: bool,
}

/// The value of a property.
pub(super) enum Value<'a> {
    Number(u32),
    Bytes(&'a [u8]),
    Pair(&'a [u8], &'a [u8]),
}

const SHORT: Malformed = Malformed("a packet ends before its content does");

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], cut: bool) -> Self {
        Self { bytes, cut }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(SHORT)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn variable(&mut self) -> Result<u32, Malformed> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            number |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed("a length has more than four bytes"))
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// Hands over each property with its identifier. Those of a packet that is cut may end early.
    pub(super) fn properties(&mut self, mut each: impl FnMut(u8, Value<'a>)) -> Result<(), Malformed> {
        let length = self.variable()? as usize;
        let is_cut = self.cut && length > self.bytes.len();
        let mut inner = Self::new(self.take(if is_cut { self.bytes.len() } else { length })?, is_cut);
        while !inner.is_empty() {
            match inner.property() {
                Ok((id, value)) => each(id, value),
                Err(SHORT) if is_cut => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn property(&mut self) -> Result<(u8, Value<'a>), Malformed> {
        let id = self.u8()?;
        let value = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => Value::Number(self.u8()?.into()),
            0x13 | 0x21 | 0x22 | 0x23 => Value::Number(self.u16()?.into()),
            0x02 | 0x11 | 0x18 | 0x27 => Value::Number(self.u32()?),
            0x0B => Value::Number(self.variable()?),
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => Value::Bytes(self.bytes()?),
            0x26 => Value::Pair(self.bytes()?, self.bytes()?),
            _ => return Err(Malformed("a property is none that MQTT 5 has")),
        };
        Ok((id, value))
    }
}

/// Builds a packet's body.
#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn variable(&mut self, mut number: usize) {
        loop {
            let low = (number & 0x7F) as u8;
            number >>= 7;
            self.u8(if number > 0 { low | 0x80 } else { low });
            if number == 0 {
                return;
            }
        }
    }

    /// Bytes behind their length. What is longer than a length can say is cut.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        self.u16(length);
        self.0.extend_from_slice(&bytes[..usize::from(length)]);
    }

    /// What `fill` writes, behind its length.
    pub(super) fn properties(&mut self, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.variable(inner.0.len());
        self.0.append(&mut inner.0);
    }

    /// The packet whose first byte this is.
    pub(super) fn packet(self, first: u8) -> Vec<u8> {
        let mut whole = Self(Vec::with_capacity(self.0.len() + 5));
        whole.u8(first);
        whole.variable(self.0.len());
        whole.0.extend_from_slice(&self.0);
        whole.0
    }
}
