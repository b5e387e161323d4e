//! The XML that goes out, without namespaces (oss2 finds no element that has one), and the little that comes in.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements may nest this deep in a request; the deepest real one needs 3.
const MAX_DEPTH: usize = 16;

/// An XML document being written.
pub struct Xml {
    text: String,
    root: &'static str,
}

impl Xml {
    /// A document with this root element.
    pub fn new(root: &'static str) -> Xml {
        let mut xml = Xml { text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), root };
        xml.open(root);
        xml
    }

    /// `<name>value</name>`, escaped.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Xml {
        self.open(name);
        for c in value.chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                // XML 1.0 cannot hold most of these at all; who lists such keys must ask for `encoding-type=url`.
                c if c.is_control() => self.text.push_str(&format!("&#{};", u32::from(c))),
                c => self.text.push(c),
            }
        }
        self.close(name)
    }

    /// `<name>`.
    pub fn open(&mut self, name: &str) -> &mut Xml {
        self.text.push('<');
        self.text.push_str(name);
        self.text.push('>');
        self
    }

    /// `</name>`.
    pub fn close(&mut self, name: &str) -> &mut Xml {
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
        self
    }

    /// The whole document.
    pub fn finish(mut self) -> String {
        self.close(self.root);
        self.text
    }
}

/// One element of a document that came in; namespaces and attributes are gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The local name.
    pub name: String,
    /// The text directly inside, unescaped, white space kept.
    pub text: String,
    /// The elements directly inside.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document; `None` when it is not well-formed, not UTF-8 or nests too deep.
    pub fn parse(document: &[u8]) -> Option<Element> {
        let mut reader = Reader::from_str(std::str::from_utf8(document).ok()?);
        let mut open = vec![Element::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    if open.len() > MAX_DEPTH {
                        return None;
                    }
                    open.push(Element::named(start.local_name().as_ref()));
                }
                Event::Empty(empty) => {
                    open.last_mut()?.children.push(Element::named(empty.local_name().as_ref()));
                }
                Event::End(_) => {
                    let closed = open.pop()?;
                    open.last_mut()?.children.push(closed);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.into_inner()),
                Event::GeneralRef(reference) => {
                    let character = match reference.resolve_char_ref().ok()? {
                        Some(character) => character,
                        None => match reference.into_inner().as_ref() {
                            "amp" => '&',
                            "lt" => '<',
                            "gt" => '>',
                            "quot" => '"',
                            "apos" => '\'',
                            _ => return None,
                        },
                    };
                    open.last_mut()?.text.push(character);
                }
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) => return None,
                Event::Eof => break,
            }
        }
        let mut document = open.pop().filter(|_| open.is_empty())?;
        let root = document.children.pop()?;
        document.children.is_empty().then_some(root)
    }

    fn named(name: &str) -> Element {
        Element { name: name.to_owned(), ..Element::default() }
    }

    /// The elements of this name directly inside.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first element of this name directly inside.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|child| child.name == name).map(|child| child.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_with_its_white_space_and_quotes() {
        let mut xml = Xml::new("Part");
        xml.text("Key", " a&b <\"c'> \n").open("Empty").close("Empty");
        let root = Element::parse(xml.finish().as_bytes()).unwrap();
        assert_eq!((root.name.as_str(), root.child_text("Key")), ("Part", Some(" a&b <\"c'> \n")));
        assert_eq!(root.child_text("Empty"), Some(""));
    }

    #[test]
    fn namespaces_are_ignored_and_broken_documents_refused() {
        let root = Element::parse(b"<x:A xmlns:x='u'><x:B>&quot;1&#x41;</x:B><B>2</B></x:A>").unwrap();
        let texts: Vec<_> = root.all("B").map(|b| b.text.as_str()).collect();
        assert_eq!(texts, ["\"1A", "2"]);
        for broken in ["", "<A>", "<A></B>", "<A/><B/>", "<!DOCTYPE A><A/>", "<A>&nosuch;</A>", "text"] {
            assert_eq!(Element::parse(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(Element::parse("<A>".repeat(100).as_bytes()), None);
    }
}
