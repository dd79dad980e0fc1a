//! A small writer of MMDB files, so that tests can have any shape of record and tree.
//!
//! Format: MaxMind DB File Format Specification 2.0, https://maxmind.github.io/MaxMind-DB/.

/// A value of the data section.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Map(Vec<(&'static str, Value)>),
    Text(&'static str),
    Yes(bool),
    U16(u16),
    U32(u32),
    U64(u64),
    List(Vec<Value>),
}

impl Value {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Map(entries) => {
                control(7, entries.len(), out);
                for (key, value) in entries {
                    Self::Text(key).encode(out);
                    value.encode(out);
                }
            }
            Self::Text(text) => {
                control(2, text.len(), out);
                out.extend(text.bytes());
            }
            Self::Yes(yes) => control(14, usize::from(*yes), out),
            Self::U16(number) => {
                control(5, 2, out);
                out.extend(number.to_be_bytes());
            }
            Self::U32(number) => {
                control(6, 4, out);
                out.extend(number.to_be_bytes());
            }
            Self::U64(number) => {
                control(9, 8, out);
                out.extend(number.to_be_bytes());
            }
            Self::List(values) => {
                control(11, values.len(), out);
                values.iter().for_each(|value| value.encode(out));
            }
        }
    }
}

/// The byte or bytes before a value: its type, 8 and above in a byte of its own, and its size below 29.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    assert!(size < 29, "the tests need no long values");
    if kind < 8 {
        out.push(kind << 5 | size as u8);
    } else {
        out.extend([size as u8, kind - 7]);
    }
}

#[derive(Clone, Copy)]
enum Child {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A file in the making.
pub(crate) struct Writer {
    pub(super) ip_version: u16,
    pub(super) record_size: u16,
    pub(super) database_type: &'static str,
    pub(crate) build_epoch: u64,
    nodes: Vec<[Child; 2]>,
    data: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(ip_version: u16) -> Self {
        Self {
            ip_version,
            record_size: 24,
            database_type: "Test-Country",
            build_epoch: 1_790_000_000,
            nodes: vec![[Child::Nothing; 2]],
            data: Vec::new(),
        }
    }

    /// Adds a record, and returns its offset in the data section.
    pub(crate) fn record(&mut self, value: &Value) -> usize {
        let offset = self.data.len();
        value.encode(&mut self.data);
        offset
    }

    /// Puts a network in the tree. The key is its address in the file's address space, shifted left so
    /// that the first bit is the highest; no network contains another.
    pub(crate) fn network(&mut self, key: u128, prefix: u32, record: usize) {
        self.put(key, prefix, Child::Data(record));
    }

    /// Lets an empty network point to where another one's subtree is.
    pub(crate) fn alias(&mut self, key: u128, prefix: u32, of: u128, of_prefix: u32) {
        let mut node = 0;
        for depth in 0..of_prefix {
            match self.nodes[node][bit(of, depth)] {
                Child::Node(next) => node = next,
                _ => return,
            }
        }
        self.put(key, prefix, Child::Node(node));
    }

    /// Lets a child of a node point anywhere, for trees that no address list makes.
    pub(crate) fn link(&mut self, node: usize, side: usize, to: usize) {
        if self.nodes.len() <= node.max(to) {
            self.nodes.resize(node.max(to) + 1, [Child::Nothing; 2]);
        }
        self.nodes[node][side] = Child::Node(to);
    }

    fn put(&mut self, key: u128, prefix: u32, child: Child) {
        let mut node = 0;
        for depth in 0..prefix - 1 {
            node = match self.nodes[node][bit(key, depth)] {
                Child::Node(next) => next,
                _ => {
                    self.nodes.push([Child::Nothing; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][bit(key, depth)] = Child::Node(next);
                    next
                }
            };
        }
        self.nodes[node][bit(key, prefix - 1)] = child;
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for node in &self.nodes {
            let [left, right] = node.map(|child| match child {
                Child::Nothing => self.nodes.len() as u32,
                Child::Node(node) => node as u32,
                Child::Data(offset) => (self.nodes.len() + 16 + offset) as u32,
            });
            let (l, r) = (left.to_be_bytes(), right.to_be_bytes());
            match self.record_size {
                24 => out.extend([l[1], l[2], l[3], r[1], r[2], r[3]]),
                28 => out.extend([l[1], l[2], l[3], l[0] << 4 | r[0], r[1], r[2], r[3]]),
                _ => out.extend(l.into_iter().chain(r)),
            }
        }
        out.extend([0; 16]);
        out.extend(&self.data);
        out.extend(b"\xab\xcd\xefMaxMind.com");
        Value::Map(vec![
            ("binary_format_major_version", Value::U16(2)),
            ("binary_format_minor_version", Value::U16(0)),
            ("build_epoch", Value::U64(self.build_epoch)),
            ("database_type", Value::Text(self.database_type)),
            ("description", Value::Map(vec![("en", Value::Text("made for a test"))])),
            ("ip_version", Value::U16(self.ip_version)),
            ("languages", Value::List(vec![Value::Text("en")])),
            ("node_count", Value::U32(self.nodes.len() as u32)),
            ("record_size", Value::U16(self.record_size)),
        ])
        .encode(&mut out);
        out
    }
}

/// The bit of a key at a depth of the tree, as the side to go.
fn bit(key: u128, depth: u32) -> usize {
    usize::from(key << depth >> 127 == 1)
}
