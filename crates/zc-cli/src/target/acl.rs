//! POSIX access control lists, as the kernel passes them: `linux/posix_acl_xattr.h`.

/// The attribute that holds a file's list.
pub(crate) const ATTRIBUTE: &str = "system.posix_acl_access";

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

/// Whom an entry is about, of those that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Tag {
    NamedUser = 0x02,
    NamedGroup = 0x08,
    Group = 0x04,
    Mask = 0x10,
    Other = 0x20,
}

/// A list, in the kernel's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acl(Vec<u8>);

impl Acl {
    /// `None` if the bytes are no list.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Acl> {
        let version = u32::from_le_bytes(*bytes.first_chunk()?);
        let whole = (bytes.len() - HEADER).is_multiple_of(ENTRY);
        (version == VERSION && whole).then_some(Acl(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the owning group may do: its entry, as far as the mask lets it.
    pub(crate) fn group(&self) -> Option<u32> {
        let group = self.permissions(Tag::Group)?;
        Some(group & self.mask())
    }

    /// What all users and groups that have an entry of their own may do: 0o7 if none has.
    pub(crate) fn all_named(&self) -> u32 {
        let named = [Tag::NamedUser, Tag::NamedGroup].into_iter();
        let each = named.flat_map(|tag| self.entries(tag)).reduce(|all, one| all & one);
        each.map_or(0o7, |each| each & self.mask())
    }

    fn mask(&self) -> u32 {
        self.permissions(Tag::Mask).unwrap_or(0o7)
    }

    fn permissions(&self, tag: Tag) -> Option<u32> {
        self.entries(tag).next()
    }

    /// What each entry of `tag` permits.
    fn entries(&self, tag: Tag) -> impl Iterator<Item = u32> {
        let entries = self.0[HEADER..].chunks_exact(ENTRY).filter(move |entry| is(entry, tag));
        entries.map(|entry| u16::from_le_bytes([entry[2], entry[3]]).into())
    }

    /// Sets what the entry of `tag` permits.
    pub(crate) fn set(&mut self, tag: Tag, permissions: u32) {
        for entry in self.0[HEADER..].chunks_exact_mut(ENTRY).filter(|entry| is(entry, tag)) {
            entry[2..4].copy_from_slice(&(permissions as u16).to_le_bytes());
        }
    }
}

fn is(entry: &[u8], tag: Tag) -> bool {
    entry[..2] == (tag as u16).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permissions) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(u32::MAX.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn permissions_are_read_and_set() {
        let mut acl =
            Acl::new(list(&[(1, 6), (2, 6), (4, 5), (0x10, 6), (0x20, 1)])).expect("a list");
        assert_eq!(acl.group(), Some(4));
        acl.set(Tag::Group, 1);
        acl.set(Tag::Other, 0);
        let same = list(&[(1, 6), (2, 6), (4, 1), (0x10, 6), (0x20, 0)]);
        assert_eq!(acl.as_bytes(), same);
        assert_eq!(acl.group(), Some(0));
    }

    #[test]
    fn what_all_named_may_do_is_known() {
        for (entries, all) in [
            (&[(1, 6), (4, 4), (0x20, 0)][..], 7),
            (&[(1, 6), (2, 7), (2, 6), (4, 0), (8, 5), (0x10, 7), (0x20, 0)], 4),
            (&[(1, 6), (2, 7), (4, 0), (0x10, 6), (0x20, 7)], 6),
            (&[(1, 6), (2, 0), (4, 6), (0x10, 6), (0x20, 4)], 0),
        ] {
            assert_eq!(Acl::new(list(entries)).expect("a list").all_named(), all);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [&[][..], &[2, 0, 0], &[1, 0, 0, 0], &[2, 0, 0, 0, 0]] {
            assert_eq!(Acl::new(bytes.to_vec()), None);
        }
        assert_eq!(Acl::new(list(&[])).expect("an empty one").group(), None);
    }
}
