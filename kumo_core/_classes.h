/* Which rules of the grammar an octet of a command line may stand in.
 *
 * Octets beyond ASCII are parts of UTF-8, which is checked before, and stand wherever RFC 6531 §3.3 lets
 * UTF8-non-ascii stand.
 */
#ifndef KUMO_CLASSES_H
#define KUMO_CLASSES_H

enum {
    KUMO_ALNUM = 1,     /* RFC 5234 §B.1: ALPHA / DIGIT */
    KUMO_ATEXT = 2,     /* RFC 5322 §3.2.3 */
    KUMO_LABEL = 4,     /* what may follow the first octet of a label; `_` is common in names that exist */
    KUMO_QTEXT = 8,     /* RFC 5321 §4.1.2, qtextSMTP */
    KUMO_VALUE = 16,    /* RFC 5321 §4.1.2, esmtp-value */
    KUMO_BASE64 = 32,   /* RFC 4648 §4 with the padding */
    KUMO_DCONTENT = 64, /* RFC 5321 §4.1.3 */
    KUMO_CONTROL = 128  /* never in a command line; TAB, a blank, is none */
};

#define KUMO_WORD (KUMO_ALNUM | KUMO_ATEXT | KUMO_LABEL | KUMO_BASE64 | KUMO_TEXT)
#define KUMO_TEXT (KUMO_QTEXT | KUMO_VALUE | KUMO_DCONTENT)
#define KUMO_SYMBOL (KUMO_ATEXT | KUMO_TEXT)

static const unsigned char kumo_classes[256] = {
    [0x00 ... 0x08] = KUMO_CONTROL,
    [0x0A ... 0x1F] = KUMO_CONTROL,
    [' '] = KUMO_QTEXT,
    ['!'] = KUMO_SYMBOL,
    ['"'] = KUMO_VALUE | KUMO_DCONTENT,
    ['#' ... '\''] = KUMO_SYMBOL,
    ['('] = KUMO_TEXT,
    [')'] = KUMO_TEXT,
    ['*'] = KUMO_SYMBOL,
    ['+'] = KUMO_SYMBOL | KUMO_BASE64,
    [','] = KUMO_TEXT,
    ['-'] = KUMO_SYMBOL | KUMO_LABEL,
    ['.'] = KUMO_TEXT,
    ['/'] = KUMO_SYMBOL | KUMO_BASE64,
    ['0' ... '9'] = KUMO_WORD,
    [':'] = KUMO_TEXT,
    [';'] = KUMO_TEXT,
    ['<'] = KUMO_TEXT,
    ['='] = KUMO_ATEXT | KUMO_QTEXT | KUMO_DCONTENT | KUMO_BASE64,
    ['>'] = KUMO_TEXT,
    ['?'] = KUMO_SYMBOL,
    ['@'] = KUMO_TEXT,
    ['A' ... 'Z'] = KUMO_WORD,
    ['['] = KUMO_QTEXT | KUMO_VALUE,
    ['\\'] = KUMO_VALUE,
    [']'] = KUMO_QTEXT | KUMO_VALUE,
    ['^'] = KUMO_SYMBOL,
    ['_'] = KUMO_SYMBOL | KUMO_LABEL,
    ['`'] = KUMO_SYMBOL,
    ['a' ... 'z'] = KUMO_WORD,
    ['{' ... '~'] = KUMO_SYMBOL,
    [0x7F] = KUMO_CONTROL,
    [0x80 ... 0xFF] = KUMO_ATEXT | KUMO_LABEL | KUMO_QTEXT | KUMO_VALUE,
};

#endif
