/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_file_type - kumo.file_type: what kind of file bytes, an extension or a media type belong to.
 *
 * A table of the kinds that travel by mail. Bytes are told by signatures, the longest first; what has none is text or unknown.
 */
#include "lua/util.h"

struct kind {
	const char *name;
	const char *extensions, *media_types;	/* separated by blanks */
	size_t offset;				/* of the signature */
	struct slice magic;			/* none: not told by bytes */
};
#define M(s) SLICE_INIT(s)
#define NO { NULL, 0 }
static const struct kind KINDS[] = {
	{ "Java class file", "class", "application/java application/java-byte-code application/java-vm application/x-httpd-java application/x-java application/x-java-class application/x-java-vm",
	  0, M("\xca\xfe\xba\xbe") },
	{ "Portable Network Graphics", "png", "image/png", 0, M("\x89PNG\r\n\x1a\n") },
	{ "Portable Document Format", "pdf", "application/pdf application/x-pdf", 0, M("%PDF-") },
	{ "Graphics Interchange Format", "gif", "image/gif", 0, M("GIF89a") },
	{ "Graphics Interchange Format", "gif", "image/gif", 0, M("GIF87a") },
	{ "JPEG image", "jpg jpeg jpe", "image/jpeg image/pjpeg", 0, M("\xff\xd8\xff") },
	{ "gzip archive", "gz gzip", "application/gzip application/x-gzip", 0, M("\x1f\x8b") },
	{ "ZIP archive", "zip", "application/zip application/x-zip-compressed", 0, M("PK\x03\x04") },
	{ "ZIP archive", "zip", "application/zip application/x-zip-compressed", 0, M("PK\x05\x06") },
	{ "bzip2 archive", "bz2", "application/x-bzip2", 0, M("BZh") },
	{ "XZ archive", "xz", "application/x-xz", 0, M("\xfd""7zXZ\0") },
	{ "Zstandard archive", "zst", "application/zstd", 0, M("\x28\xb5\x2f\xfd") },
	{ "7-Zip archive", "7z", "application/x-7z-compressed", 0, M("7z\xbc\xaf\x27\x1c") },
	{ "RAR archive", "rar", "application/vnd.rar application/x-rar-compressed", 0, M("Rar!\x1a\x07") },
	{ "tar archive", "tar", "application/x-tar", 257, M("ustar") },
	{ "Microsoft Cabinet archive", "cab", "application/vnd.ms-cab-compressed", 0, M("MSCF") },
	{ "ISO 9660 image", "iso", "application/x-iso9660-image", 32769, M("CD001") },
	{ "RPM package", "rpm", "application/x-rpm", 0, M("\xed\xab\xee\xdb") },
	{ "Debian package", "deb", "application/vnd.debian.binary-package", 0, M("!<arch>\ndebian") },
	{ "OLE2 compound document", "doc xls ppt msg msi", "application/msword application/vnd.ms-excel application/vnd.ms-powerpoint application/vnd.ms-outlook", 0,
	  M("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") },
	{ "Rich Text Format", "rtf", "application/rtf text/rtf", 0, M("{\\rtf") },
	{ "PostScript", "ps eps ai", "application/postscript", 0, M("%!PS") },
	{ "Executable and Linkable Format", "elf so o", "application/x-elf application/x-executable application/x-sharedlib", 0, M("\x7f""ELF") },
	{ "Portable Executable", "exe dll sys scr", "application/vnd.microsoft.portable-executable application/x-msdownload", 0, M("MZ") },
	{ "WebAssembly", "wasm", "application/wasm", 0, M("\0asm") },
	{ "SQLite database", "sqlite sqlite3 db", "application/vnd.sqlite3 application/x-sqlite3", 0, M("SQLite format 3\0") },
	{ "Windows bitmap", "bmp dib", "image/bmp image/x-ms-bmp", 0, M("BM") },
	{ "Windows icon", "ico", "image/vnd.microsoft.icon image/x-icon", 0, M("\0\0\x01\0") },
	{ "Tagged Image File Format", "tif tiff", "image/tiff", 0, M("II*\0") },
	{ "Tagged Image File Format", "tif tiff", "image/tiff", 0, M("MM\0*") },
	{ "Adobe Photoshop document", "psd", "image/vnd.adobe.photoshop", 0, M("8BPS") },
	{ "WebP image", "webp", "image/webp", 8, M("WEBP") },
	{ "AVIF image", "avif", "image/avif", 4, M("ftypavif") },
	{ "HEIF image", "heic heif", "image/heic image/heif", 4, M("ftypheic") },
	{ "MPEG-4 video", "mp4 m4v", "video/mp4", 4, M("ftypisom") },
	{ "MPEG-4 video", "mp4 m4v", "video/mp4", 4, M("ftypmp42") },
	{ "QuickTime video", "mov qt", "video/quicktime", 4, M("ftypqt  ") },
	{ "Matroska video", "mkv webm", "video/x-matroska video/webm", 0, M("\x1a\x45\xdf\xa3") },
	{ "Audio Video Interleave", "avi", "video/x-msvideo", 8, M("AVI ") },
	{ "MPEG video", "mpg mpeg", "video/mpeg", 0, M("\0\0\x01\xba") },
	{ "Flash video", "flv", "video/x-flv", 0, M("FLV\x01") },
	{ "MP3 audio", "mp3", "audio/mpeg", 0, M("ID3") },
	{ "MP3 audio", "mp3", "audio/mpeg", 0, M("\xff\xfb") },
	{ "Ogg", "ogg oga ogv opus", "audio/ogg video/ogg application/ogg", 0, M("OggS") },
	{ "FLAC audio", "flac", "audio/flac audio/x-flac", 0, M("fLaC") },
	{ "Waveform audio", "wav", "audio/wav audio/x-wav", 8, M("WAVE") },
	{ "MIDI", "mid midi", "audio/midi", 0, M("MThd") },
	{ "Web Open Font Format", "woff", "font/woff", 0, M("wOFF") },
	{ "Web Open Font Format 2", "woff2", "font/woff2", 0, M("wOF2") },
	{ "OpenType font", "otf", "font/otf", 0, M("OTTO") },
	{ "TrueType font", "ttf", "font/ttf", 0, M("\0\1\0\0\0") },
	{ "PGP message", "asc pgp gpg", "application/pgp-encrypted", 0, M("-----BEGIN PGP MESSAGE") },
	{ "Privacy-Enhanced Mail", "pem crt key", "application/x-pem-file", 0, M("-----BEGIN ") },
	{ "Hypertext Markup Language", "html htm", "text/html", 0, M("<!DOCTYPE html") },
	{ "Hypertext Markup Language", "html htm", "text/html", 0, M("<html") },
	{ "Extensible Markup Language", "xml", "application/xml text/xml", 0, M("<?xml") },
	{ "Scalable Vector Graphics", "svg", "image/svg+xml", 0, M("<svg") },
	{ "iCalendar", "ics", "text/calendar", 0, M("BEGIN:VCALENDAR") },
	{ "vCard", "vcf", "text/vcard", 0, M("BEGIN:VCARD") },
	{ "Office Open XML document", "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 0, NO },
	{ "Office Open XML workbook", "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 0, NO },
	{ "Office Open XML presentation", "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", 0, NO },
	{ "OpenDocument text", "odt", "application/vnd.oasis.opendocument.text", 0, NO },
	{ "OpenDocument spreadsheet", "ods", "application/vnd.oasis.opendocument.spreadsheet", 0, NO },
	{ "Java archive", "jar", "application/java-archive", 0, NO },
	{ "Q1193600", "markdown md mdown mdtext mdtxt mkd", "text/markdown", 0, NO },
	{ "JavaScript", "js mjs", "text/javascript application/javascript", 0, NO },
	{ "Cascading Style Sheets", "css", "text/css", 0, NO },
	{ "JavaScript Object Notation", "json", "application/json", 0, NO },
	{ "Comma-separated values", "csv", "text/csv", 0, NO },
	{ "Email message", "eml", "message/rfc822", 0, NO },
	{ "Plain text", "txt text log", "text/plain", 0, NO },
	{ "Unknown", "bin", "application/octet-stream", 0, NO },
};
#undef M
#undef NO

static void push_words(lua_State *L, const char *words)
{
	struct slice rest = slice_from_cstr(words), word;
	lua_newtable(L);
	for (lua_Integer i = 1; slice_split_next(&rest, ' ', &word); i++) {
		policy_push_slice(L, word);
		lua_rawseti(L, -2, i);
	}
}

static void push_kind(lua_State *L, const struct kind *k)
{
	lua_createtable(L, 0, 3);
	lua_pushstring(L, k->name);
	lua_setfield(L, -2, "name");
	push_words(L, k->extensions);
	lua_setfield(L, -2, "extensions");
	push_words(L, k->media_types);
	lua_setfield(L, -2, "media_types");
}

static const struct kind *by_name(const char *name)
{
	const struct kind *k = KINDS;
	while (strcmp(k->name, name) != 0)
		k++;
	return k;
}

static int fn_from_bytes(lua_State *L)
{
	struct slice s = policy_check_slice(L, 1);
	const struct kind *best = NULL;
	for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
		const struct kind *k = &KINDS[i];
		if (k->magic.len && k->offset < s.len && slice_starts(slice_sub(s, k->offset, SIZE_MAX), k->magic) && (!best || k->magic.len > best->magic.len))
			best = k;
	}
	bool text = s.len > 0 && utf8_valid(s) && slice_chr(s, '\0') < 0;
	push_kind(L, best ? best : by_name(text ? "Plain text" : "Unknown"));
	return 1;
}

/* All kinds that have WORD in the list FIELD of them; a kind with several signatures counts once. */
static int push_matching(lua_State *L, struct slice word, size_t field)
{
	const char *last = "";
	lua_Integer n = 0;
	lua_newtable(L);
	for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
		struct slice rest = slice_from_cstr(*(const char *const *)((const char *)&KINDS[i] + field)), one;
		while (slice_split_next(&rest, ' ', &one)) {
			if (!slice_eq_nocase(one, word) || strcmp(last, KINDS[i].name) == 0)
				continue;
			last = KINDS[i].name;
			push_kind(L, &KINDS[i]);
			lua_rawseti(L, -2, ++n);
		}
	}
	return 1;
}

static int fn_from_extension(lua_State *L)
{
	return push_matching(L, policy_check_text(L, 1), offsetof(struct kind, extensions));
}

static int fn_from_media_type(lua_State *L)
{
	return push_matching(L, policy_check_text(L, 1), offsetof(struct kind, media_types));
}

static const luaL_Reg FUNCTIONS[] = { { "from_bytes", fn_from_bytes }, { "from_extension", fn_from_extension }, { "from_media_type", fn_from_media_type }, { NULL, NULL } };
const struct policy_module mod_file_type = { "kumo.file_type", FUNCTIONS, NULL };
