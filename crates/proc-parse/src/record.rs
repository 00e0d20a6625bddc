//! Files that are a fixed sequence of fields.

/// Declares such a file once: the struct, the names of the fields for errors, and
/// the grammar: the nom parser of each field.
///
/// The numbers are those of proc(5).
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $record:ident $(<$lifetime:lifetime>)?, grammar $grammar:ident of $file:ident {
            $( $(#[$doc:meta])* $number:literal $field:ident: $type:ty = $parser:expr; )+
        }
    ) => {
        $(#[$meta])*
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct $record $(<$lifetime>)? {
            $( #[doc = concat!(" ", $number, ":")] $(#[$doc])* pub $field: $type, )+
        }

        impl $(<$lifetime>)? $record $(<$lifetime>)? {
            /// The names of the fields.
            #[allow(dead_code)] // of a struct with a part of the fields
            pub(crate) const FIELDS: &'static [&'static str] = &[$( stringify!($field) ),+];
        }

        #[doc = concat!("The grammar of [`", stringify!($record), "`].")]
        ///
        /// # Errors
        #[doc = concat!("As `", stringify!($record), "::parse`.")]
        #[inline]
        pub fn $grammar<'a>(
            input: &'a [u8],
        ) -> crate::error::ParseResult<'a, $record $(<$lifetime>)?> {
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
