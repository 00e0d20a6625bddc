//! Files that are a fixed sequence of fields.

/// Declares such a file once: the struct, the names of the fields for errors, and
/// the grammar: the nom parser of each field.
///
/// The numbers are those of proc(5).
macro_rules! record {
    // With text: generic over it, with an alias for text that is borrowed and one that is owned.
    (
        $(#[$meta:meta])*
        pub struct $record:ident<T>: $view:ident or $owned:ident, grammar $grammar:ident of $file:ident {
            $( $(#[$doc:meta])* $number:literal $field:ident: $type:ty = $parser:expr; )+
        }
    ) => {
        $(#[$meta])*
        #[cfg_attr(
            feature = "serde",
            derive(serde::Serialize),
            serde(bound(serialize = "T: AsRef<[u8]>"))
        )]
        #[non_exhaustive]
        pub struct $record<T> {
            $( #[doc = concat!(" ", $number, ":")] $(#[$doc])* pub $field: $type, )+
        }

        #[doc = concat!("[`", stringify!($record), "`] that borrows from the text of the file.")]
        pub type $view<'a> = $record<&'a [u8]>;

        #[doc = concat!("[`", stringify!($record), "`] that keeps its text.")]
        #[cfg(feature = "alloc")]
        pub type $owned = $record<alloc::vec::Vec<u8>>;

        #[cfg(feature = "alloc")]
        impl $view<'_> {
            /// A copy that does not borrow from the text of the file.
            #[must_use]
            #[allow(clippy::useless_conversion, reason = "only that of the text is one")]
            pub fn into_owned(self) -> $owned {
                $record { $( $field: self.$field.into() ),+ }
            }
        }

        impl<T> $record<T> {
            /// The names of the fields.
            #[allow(dead_code)] // of a struct with a part of the fields
            pub(crate) const FIELDS: &'static [&'static str] = &[$( stringify!($field) ),+];
        }

        record! { @grammar $grammar of $file, $record: $view<'a>, $view {
            $( $number $field = $parser; )+
        } }
    };
    (
        $(#[$meta:meta])*
        pub struct $record:ident, grammar $grammar:ident of $file:ident {
            $( $(#[$doc:meta])* $number:literal $field:ident: $type:ty = $parser:expr; )+
        }
    ) => {
        $(#[$meta])*
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct $record {
            $( #[doc = concat!(" ", $number, ":")] $(#[$doc])* pub $field: $type, )+
        }

        impl $record {
            /// The names of the fields.
            pub(crate) const FIELDS: &'static [&'static str] = &[$( stringify!($field) ),+];
        }

        record! { @grammar $grammar of $file, $record: $record, $record {
            $( $number $field = $parser; )+
        } }
    };
    (
        @grammar $grammar:ident of $file:ident, $record:ident: $output:ty, $name:ident {
            $( $number:literal $field:ident = $parser:expr; )+
        }
    ) => {
        #[doc = concat!("The grammar of [`", stringify!($name), "`].")]
        ///
        /// # Errors
        #[doc = concat!("As `", stringify!($name), "::parse`.")]
        #[inline]
        pub fn $grammar<'a>(input: &'a [u8]) -> crate::error::ParseResult<'a, $output> {
            $(
                let label = crate::error::Field(crate::error::ProcFile::$file, $number);
                let (input, $field) =
                    nom::Parser::parse_complete(&mut crate::error::field(label, $parser), input)?;
            )+
            Ok((input, $record { $( $field ),+ }))
        }
    };
}
pub(crate) use record;
