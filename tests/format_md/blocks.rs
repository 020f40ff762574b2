//! The ```hex blocks of `format.md`: a tag, arguments, and bytes with a comment on each line.

/// One worked example.
#[derive(Clone, Debug)]
pub struct Block {
    pub tag: String,
    args: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

impl Block {
    /// The text of an argument, if it is there.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.args.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The names of all arguments, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|(key, _)| key.as_str())
    }
}

/// All examples of a text, in its order.
pub fn blocks(spec: &str) -> Result<Vec<Block>, String> {
    spec.split("```hex ").skip(1).map(block).collect()
}

/// A file of the example log: the blocks that name it, one behind the other.
pub fn file(blocks: &[Block], name: &str) -> Vec<u8> {
    let of_file = blocks.iter().filter(|it| it.text("file") == Some(name));
    of_file.flat_map(|block| block.bytes.clone()).collect()
}

fn block(text: &str) -> Result<Block, String> {
    let (head, rest) = text.split_once('\n').ok_or("a block without lines")?;
    let (body, _) = rest.split_once("```").ok_or("a block without an end")?;
    let mut words = head.split_whitespace();
    let tag = words.next().ok_or("a block without a tag")?.to_owned();
    let args = words
        .map(|word| {
            let pair = word.split_once('=').unwrap_or((word, ""));
            (pair.0.to_owned(), pair.1.to_owned())
        })
        .collect();
    let digits: String = body
        .lines()
        .filter_map(|line| line.split(';').next())
        .flat_map(str::split_whitespace)
        .collect();
    let bytes = unhex(&digits).ok_or_else(|| format!("{head}: not hex"))?;
    Ok(Block { tag, args, bytes })
}

/// The bytes that hex digits stand for.
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect::<Option<Vec<u8>>>()
        .filter(|bytes| bytes.len() * 2 == digits.len())
}
