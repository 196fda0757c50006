// SPDX-License-Identifier: Apache-2.0
// host only. Definitions of data/csv.hpp; see core/library.hpp.
#pragma once

#include <espalier/data/csv.hpp>

#include <espalier/core/error.hpp>
#include <espalier/io/printable.hpp>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace espalier {

ESPALIER_LIBRARY csv_reader::csv_reader(file_path const& path, char separator, char quote)
    : file_(path), separator_(separator), quote_(quote) {
    if (separator == '\n' || separator == '\r' || separator == 0 || separator == quote) {
        throw data_error("csv_reader: the separator must not be a line end, a NUL byte or the quote");
    }
    for (char const stop : {'\n', '\r', '\0', separator, quote}) {
        stops_[static_cast<unsigned char>(stop)] = true;
    }
    buffer_.resize((std::size_t{1} << 17) + 1);
}

ESPALIER_LIBRARY bool csv_reader::next(std::vector<std::string>& fields) {
    fields.clear();
    if (!next_row()) {
        return false;
    }
    for (auto const& [first, length] : places_) {
        fields.emplace_back(buffer_, row_ + first, length);
    }
    return true;
}

ESPALIER_LIBRARY bool csv_reader::next(std::vector<std::string_view>& fields) {
    bool const more = next_row();
    fields.resize(more ? places_.size() : 0);
    for (std::size_t i = 0; i < fields.size(); ++i) {
        fields[i] = {buffer_.data() + row_ + places_[i].first, places_[i].second};
    }
    return more;
}

ESPALIER_LIBRARY bool csv_reader::next_row() {
    index_t blank = 0;
    row_ = position_;
    while (at_line_end() && !(blank_is_row_ && peek() >= 0)) {
        if (peek() < 0) {
            return false;
        }
        blank = blank == 0 ? line_ : blank;
        take_line_end();
        row_ = position_;
    }
    if (blank != 0) {
        fail(blank, "blank line between rows");
    }
    row_line_ = line_;
    places_.clear();
    while (true) {
        // Most fields have no quotes, stand in the buffer to their end, and a separator follows.
        char const* const text = buffer_.data();
        std::size_t first = position_;
        while (true) {
            std::size_t at = first;
            bool const quoted = quote_ != 0 && text[at] == quote_;
            if (quoted) { // of those that have, most have neither line ends nor quotes in between
                for (++at; text[at] != quote_ && text[at] != '\n' && text[at] != '\0';) {
                    ++at;
                }
                if (text[at] != quote_) {
                    break;
                }
                ++at;
            } else {
                while (!stops_[static_cast<unsigned char>(text[at])]) {
                    ++at;
                }
            }
            if (text[at] != separator_) {
                break;
            }
            places_.emplace_back(first - row_ + (quoted ? 1 : 0), at - first - (quoted ? 2 : 0));
            first = at + 1;
        }
        position_ = first;
        read_field();
        if (at_line_end()) {
            take_line_end();
            return true;
        }
        take(); // the separator
    }
}

ESPALIER_LIBRARY void csv_reader::fail(index_t line, std::string const& reason) const {
    throw file_error(path() + ":" + std::to_string(line) + ": " + reason);
}

ESPALIER_LIBRARY bool csv_reader::fill() {
    if (ended_) {
        return false;
    }
    std::memmove(buffer_.data(), buffer_.data() + row_, size_ - row_);
    size_ -= row_;
    position_ -= row_;
    row_ = 0;
    if (size_ > buffer_.size() / 2) { // a long row
        buffer_.resize(2 * buffer_.size());
    }
    std::size_t const room = buffer_.size() - 1 - size_;
    std::size_t const got = file_.read(buffer_.data() + size_, room);
    ended_ = got < room;
    size_ += got;
    buffer_[size_] = '\0';
    if (!started_) {
        started_ = true;
        if (std::string_view(buffer_).substr(0, 3) == "\xef\xbb\xbf") {
            row_ = position_ = 3;
        }
    }
    return got > 0;
}

ESPALIER_LIBRARY int csv_reader::peek(std::size_t ahead) {
    while (position_ + ahead >= size_) {
        if (!fill()) {
            return -1;
        }
    }
    return static_cast<unsigned char>(buffer_[position_ + ahead]);
}

ESPALIER_LIBRARY bool csv_reader::at_line_end() {
    return peek() < 0 || peek() == '\n' || (peek() == '\r' && (peek(1) == '\n' || peek(1) < 0));
}

ESPALIER_LIBRARY void csv_reader::take_line_end() {
    if (peek() == '\r') {
        take();
    }
    if (peek() == '\n') {
        take();
        ++line_;
    }
}

ESPALIER_LIBRARY void csv_reader::read_field() {
    if (quote_ != 0 && peek() == static_cast<unsigned char>(quote_)) {
        read_quoted_field();
        return;
    }
    std::size_t const first = position_ - row_;
    while (true) {
        char const* const text = buffer_.data();
        std::size_t at = position_;
        while (!stops_[static_cast<unsigned char>(text[at])]) {
            ++at;
        }
        position_ = at;
        if (at == size_ && fill()) {
            continue;
        }
        if (position_ == size_ || text[at] == separator_ || at_line_end()) {
            break;
        }
        // at_line_end may have moved the text.
        char const c = buffer_[position_];
        std::string const where = "column " + std::to_string(places_.size() + 1) + ": ";
        if (c == '\r') {
            fail(line_, where + "a carriage return that ends no line; lines end with LF or CRLF");
        }
        if (quote_ != 0 && c == quote_) {
            fail(line_, where + "a quote inside a field that does not start with one");
        }
        fail(line_, where + "a NUL byte; this is not a text file");
    }
    places_.emplace_back(first, position_ - row_ - first);
}

ESPALIER_LIBRARY void csv_reader::read_quoted_field() {
    auto const where = [&] { return "column " + std::to_string(places_.size() + 1) + ": "; };
    index_t const opened = line_;
    take();
    std::size_t const first = position_ - row_;
    std::size_t length = 0;
    while (true) {
        int const c = peek();
        if (c < 0) {
            fail(opened, where() + "the quote is never closed");
        }
        take();
        if (c == static_cast<unsigned char>(quote_)) {
            if (peek() != c) {
                break;
            }
            take();
        }
        line_ += c == '\n';
        buffer_[row_ + first + length] = static_cast<char>(c); // the text moves up where a doubled quote was
        ++length;
    }
    if (!at_line_end() && peek() != static_cast<unsigned char>(separator_)) {
        fail(line_, where() + "text after the closing quote");
    }
    places_.emplace_back(first, length);
}

namespace detail {

/// A field as it stands in an error message.
inline std::string shown_field(std::string_view text) {
    return '\'' + printable(text, 40) + '\'';
}

inline std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

/// Whether a number in decimal notation, other than 0, is 1 or more: std::from_chars says the same of one that is too
/// large and one that is too small.
inline bool is_one_or_more(std::string_view text) {
    auto const is_exponent = [](char c) { return c == 'e' || c == 'E'; };
    auto const exponent_at =
        static_cast<std::size_t>(std::find_if(text.begin(), text.end(), is_exponent) - text.begin());
    std::string_view const digits = text.substr(0, exponent_at);
    auto const point = std::min(digits.find('.'), digits.size());
    auto const first = std::min(digits.find_first_of("123456789"), digits.size());
    // The number is 0.d... times ten to the power of `places` plus the exponent.
    std::int64_t const places =
        first < point ? static_cast<std::int64_t>(point - first) : -static_cast<std::int64_t>(first - point) + 1;
    std::string_view exponent = text.substr(std::min(exponent_at + 1, text.size()));
    bool const negative = !exponent.empty() && exponent.front() == '-';
    if (!exponent.empty() && (negative || exponent.front() == '+')) {
        exponent.remove_prefix(1);
    }
    constexpr std::int64_t most = std::int64_t{1} << 58; // no text is so long that its places matter beside that
    std::int64_t power = 0;
    for (char const c : exponent) {
        power = std::min(power * 10 + (c - '0'), most);
    }
    return places + (negative ? -power : power) > 0;
}

inline constexpr double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/// The last 8 bytes of `text`, of 4 or more, as a number whose highest byte is the last; 0 before a shorter text.
inline std::uint64_t last_bytes(std::string_view text) {
    if (text.size() >= 8) {
        std::uint64_t all;
        std::memcpy(&all, text.data() + text.size() - 8, 8);
        return all;
    }
    std::uint32_t first;
    std::uint32_t last;
    std::memcpy(&first, text.data(), 4);
    std::memcpy(&last, text.data() + text.size() - 4, 4);
    return std::uint64_t{first} << (8 * (8 - text.size())) | std::uint64_t{last} << 32;
}

/// The number that 8 digits are, of which the first is the lowest byte; 2^32 when one is no digit.
inline std::uint64_t eight_digits(std::uint64_t text) {
    constexpr std::uint64_t high = 0xf0f0f0f0f0f0f0f0u;
    constexpr std::uint64_t zeros = 0x3030303030303030u;
    if ((text & high) != zeros || ((text + 0x0606060606060606u) & high) != zeros) {
        return std::uint64_t{1} << 32;
    }
    text -= zeros; // pairs of digits, then pairs of pairs, then both halves
    text = (text * 10 + (text >> 8)) & 0x00ff00ff00ff00ffu;
    text = (text * 100 + (text >> 16)) & 0x0000ffff0000ffffu;
    return (text * 10000 + (text >> 32)) & 0xffffffffu;
}

/// Reads up to 19 digits, with or without a point and an exponent, in half the time of std::from_chars; false: the text
/// is something else, or so near to the middle between two floats (or of so many digits, for a double) that only
/// from_chars can tell which is nearer.
template <class T> bool parse_short_number(std::string_view text, T& value) {
#if defined(__FAST_MATH__)
    static_cast<void>(text); // the division below must be rounded as IEEE 754 says
    static_cast<void>(value);
    return false;
#else
    // Longer than a sign, a point and 16 digits: more than a double holds as they stand.
    if (std::is_same_v<T, double> && text.size() > 18) return false;
    char const* at = text.data();
    char const* const end = at + text.size();
    auto const digit = [&] { return at != end ? static_cast<unsigned>(*at) - '0' : 10u; };
    bool const negative = at != end && *at == '-';
    at += negative;
    std::uint64_t digits = 0;
    auto const read_digits = [&] {
        char const* const first = at;
        for (unsigned d = digit(); d < 10; d = digit()) {
            digits = digits * 10 + d;
            ++at;
        }
        return at - first;
    };
    auto number = read_digits();
    std::ptrdiff_t exponent = 0;
    if (at != end && *at == '.') {
        ++at;
        std::ptrdiff_t const left = end - at;
        std::uint64_t fraction = std::uint64_t{1} << 32;
        if constexpr (std::endian::native == std::endian::little) {
            // Most fields end so; a loop would wait for the processor to guess where.
            if (left >= 1 && left <= 8 && text.size() >= 4) {
                auto const before = static_cast<int>(8 * (8 - left));
                std::uint64_t const zeros = before == 0 ? 0 : 0x3030303030303030u >> (64 - before);
                fraction = eight_digits(last_bytes(text) >> before << before | zeros);
            }
        }
        if (fraction >> 32 == 0 && number <= 11) {
            digits = digits * static_cast<std::uint64_t>(tens[left]) + fraction;
            at = end;
            exponent = -left;
        } else {
            exponent = -read_digits();
        }
        number -= exponent;
    }
    if (number == 0 || number > 19) {
        return false;
    }
    if (at != end && (*at == 'e' || *at == 'E')) {
        ++at;
        bool const down = at != end && *at == '-';
        at += at != end && (*at == '-' || *at == '+');
        int power = 0;
        char const* const first = at;
        for (unsigned d = digit(); d < 10 && at - first < 4; d = digit()) {
            power = power * 10 + static_cast<int>(d);
            ++at;
        }
        if (at == first) {
            return false;
        }
        exponent += down ? -power : power;
    }
    if (at != end || exponent < -22 || exponent > 18) { // at most 10^37: no overflow, and nothing is subnormal
        return false;
    }
    auto const whole = static_cast<double>(digits);
    double const wide = exponent < 0 ? whole / tens[-exponent] : whole * tens[exponent];
    if constexpr (std::is_same_v<T, double>) {
        // One rounding, that of the operation, as long as the digits are a double as they stand.
        if (digits >> 53 != 0) {
            return false;
        }
    } else {
        // Two roundings at most: the double is within two of its last places of the number. A float keeps all but its
        // last 29 bits, so that the number is rounded to the same float unless these bits are about one half.
        auto const rest = static_cast<std::int64_t>(std::bit_cast<std::uint64_t>(wide) & 0x1fffffffu);
        if (std::abs(rest - 0x10000000) <= 4) {
            return false;
        }
    }
    value = static_cast<T>(negative ? -wide : wide);
    return true;
#endif
}

template <class T> parsed_number<T> parse_number(std::string_view text) {
    parsed_number<T> result;
    if (parse_short_number(text, result.value)) {
        return result;
    }
    text = trimmed(text);
    if (text.size() > 1 && text.front() == '+' && text[1] != '-' && text[1] != '+') {
        text.remove_prefix(1); // from_chars does not take a plus
    }
    if (text.empty()) {
        return {0, "is empty"};
    }
    auto const [end, code] = std::from_chars(text.data(), text.data() + text.size(), result.value);
    if (code == std::errc::invalid_argument || end != text.data() + text.size()) {
        return {0, "is not a number"};
    }
    if (code == std::errc::result_out_of_range) {
        // Too large, or so small that it is zero or subnormal, which is no error.
        if (is_one_or_more(text)) {
            return {0,
                    std::is_same_v<T, double> ? "is outside the range of a double" : "is outside the range of a float"};
        }
        double wide = 0.0;
        bool const held = std::from_chars(text.data(), text.data() + text.size(), wide).ec == std::errc();
        result.value = static_cast<T>(held ? wide : text.front() == '-' ? -0.0 : 0.0);
    }
    if (!std::isfinite(result.value)) {
        return {0, "is not a finite number"};
    }
    return result;
}

ESPALIER_LIBRARY bool is_column_name(std::string_view text) {
    text = trimmed(text);
    std::string_view number = text;
    if (number.size() > 1 && number.front() == '+') {
        number.remove_prefix(1);
    }
    double value = 0.0;
    auto const [end, code] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (text.empty() || (code != std::errc::invalid_argument && end == number.data() + number.size())) {
        return false;
    }
    constexpr std::string_view missing[] = {"?",    "NA",   "N/A",  "n/a", "NULL", "null",
                                            "None", "<NA>", "#N/A", "-",   ".",    "*"};
    return std::find(std::begin(missing), std::end(missing), text) == std::end(missing);
}

/// What a field is that may be a label.
struct label_field {
    enum kind_type { label, whole, fraction, text } kind; ///< whole: a number that is no label
    std::int32_t value = -1;                              ///< of a label
};

/// What is no number of a table of T is text.
template <class T> label_field parse_label(std::string_view text) {
    std::int32_t label = -1;
    auto const [end, code] = std::from_chars(text.data(), text.data() + text.size(), label);
    if (code == std::errc() && end == text.data() + text.size()) {
        return {label < 0 ? label_field::whole : label_field::label, label};
    }
    if (parse_number<T>(text).reason != nullptr) {
        return {label_field::text};
    }
    text.remove_prefix(text.front() == '+' ? 1 : 0);
    double value = 0.0; // in a float 0.9999999999 would be whole
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc() ||
        value != std::floor(value)) {
        return {label_field::fraction}; // also one that is too small for a double
    }
    if (value < 0.0 || value > std::numeric_limits<std::int32_t>::max()) {
        return {label_field::whole};
    }
    return {label_field::label, static_cast<std::int32_t>(value)};
}

/// Different texts, numbered in the order in which they appear. They stand one behind the other, and a table of places
/// finds them: a million classes take a few steps each, without memory of their own for every one.
class numbered_texts {
public:
    std::size_t size() const { return ends_.size(); }
    std::string_view operator[](std::size_t i) const {
        std::size_t const first = i == 0 ? 0 : ends_[i - 1];
        return std::string_view(all_).substr(first, ends_[i] - first);
    }

    /// The number of a text, -1 of one that is not there.
    std::int32_t find(std::string_view text) const {
        return places_.empty() ? -1 : places_[place_of(text, std::hash<std::string_view>()(text))].number;
    }

    /// The number of a text, which is added when it is new, and whether it was.
    std::pair<std::int32_t, bool> add(std::string_view text) {
        if (2 * (size() + 1) > places_.size()) {
            grow();
        }
        std::size_t const hash = std::hash<std::string_view>()(text);
        place& found = places_[place_of(text, hash)];
        bool const added = found.number < 0;
        if (added) {
            found = {hash, static_cast<std::int32_t>(size())};
            all_ += text;
            ends_.push_back(all_.size());
        }
        return {found.number, added};
    }

    /// The numbers in the sorted order of the texts (bytes).
    std::vector<std::int32_t> sorted() const {
        // What all have in common decides nothing; the bytes behind it, as a number, nearly everything.
        std::size_t common = size() == 0 ? 0 : (*this)[0].size();
        for (std::size_t i = 1; i < size(); ++i) {
            std::string_view const a = (*this)[0].substr(0, common);
            std::string_view const b = (*this)[i];
            common = static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
        }
        struct key {
            std::uint64_t bytes;
            std::int32_t number;
        };
        std::vector<key> keys(size());
        for (std::size_t i = 0; i < keys.size(); ++i) {
            std::uint64_t bytes = 0;
            std::string_view const text = (*this)[i].substr(common, 8);
            for (std::size_t b = 0; b < 8; ++b) {
                bytes = bytes << 8 | (b < text.size() ? static_cast<unsigned char>(text[b]) : 0u);
            }
            keys[i] = {bytes, static_cast<std::int32_t>(i)};
        }
        std::sort(keys.begin(), keys.end(), [&](key const& a, key const& b) {
            return a.bytes != b.bytes
                       ? a.bytes < b.bytes
                       : (*this)[static_cast<std::size_t>(a.number)] < (*this)[static_cast<std::size_t>(b.number)];
        });
        std::vector<std::int32_t> numbers(keys.size());
        std::transform(keys.begin(), keys.end(), numbers.begin(), [](key const& k) { return k.number; });
        return numbers;
    }

private:
    struct place {
        std::size_t hash = 0;
        std::int32_t number = -1; ///< of no text
    };

    /// Where a text is, or would be.
    std::size_t place_of(std::string_view text, std::size_t hash) const {
        std::size_t const mask = places_.size() - 1;
        std::size_t at = hash & mask;
        while (places_[at].number >= 0 &&
               (places_[at].hash != hash || (*this)[static_cast<std::size_t>(places_[at].number)] != text)) {
            at = (at + 1) & mask;
        }
        return at;
    }

    void grow() {
        std::vector<place> const before =
            std::exchange(places_, std::vector<place>(std::max<std::size_t>(64, 2 * places_.size())));
        for (place const& p : before) {
            if (p.number >= 0) {
                std::size_t at = p.hash & (places_.size() - 1);
                while (places_[at].number >= 0) {
                    at = (at + 1) & (places_.size() - 1);
                }
                places_[at] = p;
            }
        }
    }

    std::string all_;
    std::vector<std::size_t> ends_;
    std::vector<place> places_; ///< a power of two, at most half of them taken
};

/// Makes labels or targets of the fields of the label column, one after the other. Under `csv_labels::detect` it is
/// open what the column holds while all fields are whole numbers; their texts are kept until then.
template <class T> class csv_label_column {
public:
    /// `targets_taken`: what is to be predicted stands in other columns, so that this one must hold labels.
    csv_label_column(csv_options const& options, bool targets_taken)
        : kind_(options.labels), known_(!options.class_names.empty()), targets_taken_(targets_taken) {
        detected_ = kind_ == csv_labels::detect && !known_;
        if (kind_ == csv_labels::detect && known_) {
            kind_ = csv_labels::categories;
        }
        if (kind_ == csv_labels::categories) {
            for (std::string const& name : options.class_names) {
                // Of equal names the first counts.
                if (texts_.add(name).second) {
                    class_of_.push_back(static_cast<std::int32_t>(classes_));
                }
                ++classes_;
            }
        }
    }

    bool holds_targets() const { return kind_ == csv_labels::targets; }

    /// Takes the field of the next row; why it cannot be taken, or an empty text.
    std::string take(std::string_view field, index_t line, data_set_of<T>& to) {
        if (kind_ == csv_labels::targets) {
            return take_target(field, to);
        }
        std::string_view const text = trimmed(field);
        if (text.empty()) {
            return "is empty; every row needs a label";
        }
        if (kind_ == csv_labels::categories) {
            return take_category(text, to);
        }
        label_field const found = parse_label<T>(text);
        if (kind_ == csv_labels::numbers) {
            to.labels.push_back(found.value);
            return found.kind == label_field::label ? "" : "is not a label: whole numbers from 0 are needed";
        }
        if (found.kind == label_field::fraction) {
            if (targets_taken_) {
                return "is no whole number and so no class; name the column in csv_options::targets, or say "
                       "csv_labels::categories";
            }
            for_each_kept([&](std::string_view earlier) { return take_target(earlier, to); });
            kind_ = csv_labels::targets;
            to.labels = {};
            remember(text, line);
            return take_target(text, to);
        }
        if (found.kind == label_field::text) {
            to.labels.clear();
            for_each_kept([&](std::string_view earlier) { return take_category(earlier, to); });
            kind_ = csv_labels::categories;
            remember(text, line);
            return take_category(text, to);
        }
        all_labels_ = all_labels_ && found.kind == label_field::label;
        kept_ += text;
        kept_ends_.push_back(kept_.size());
        to.labels.push_back(found.value);
        return "";
    }

    /// Numbers the classes after the last row.
    void finish(csv_options const& options, data_set_of<T>& to) {
        if (kind_ == csv_labels::detect) {
            if (all_labels_) {
                return;
            }
            to.labels.clear();
            for_each_kept([&](std::string_view earlier) { return take_category(earlier, to); });
            kind_ = csv_labels::categories;
        }
        if (kind_ == csv_labels::targets) {
            return;
        }
        to.class_names = options.class_names;
        if (known_ || kind_ == csv_labels::numbers) {
            return;
        }
        // From the order of appearance to that of the texts.
        std::vector<std::int32_t> const order = texts_.sorted();
        std::vector<std::int32_t> meaning(order.size());
        to.class_names.reserve(order.size());
        for (std::size_t i = 0; i < order.size(); ++i) {
            meaning[static_cast<std::size_t>(order[i])] = static_cast<std::int32_t>(i);
            to.class_names.emplace_back(texts_[static_cast<std::size_t>(order[i])]);
        }
        for (std::int32_t& id : to.labels) {
            id = meaning[static_cast<std::size_t>(id)];
        }
    }

private:
    std::string take_target(std::string_view field, data_set_of<T>& to) {
        parsed_number<T> const number = parse_number<T>(field);
        to.targets.push_back(number.value);
        if (number.reason == nullptr) {
            return "";
        }
        return number.reason + (detected_ ? ", and line " + std::to_string(line_) + " has " + shown_ +
                                                ", which makes the column targets; for classes say "
                                                "csv_labels::categories"
                                          : std::string());
    }

    std::string take_category(std::string_view text, data_set_of<T>& to) {
        if (known_) {
            std::int32_t const found = texts_.find(text);
            if (found < 0) {
                return "is not one of the " + std::to_string(classes_) + " known classes";
            }
            to.labels.push_back(class_of_[static_cast<std::size_t>(found)]);
            return "";
        }
        auto const [number, added] = texts_.add(text);
        if (added && detected_ && parse_label<T>(text).kind == label_field::fraction) {
            return "is a number with a fraction, and line " + std::to_string(line_) + " has " + shown_ + ", which " +
                   parse_number<T>(trimmed(decisive_)).reason +
                   "; for classes say csv_labels::categories, for numbers to predict csv_labels::targets";
        }
        to.labels.push_back(number);
        return "";
    }

    void remember(std::string_view text, index_t line) {
        decisive_ = text;
        shown_ = shown_field(text);
        line_ = line;
    }

    template <class Take> void for_each_kept(Take const& take) {
        std::size_t first = 0;
        for (std::size_t const end : kept_ends_) {
            static_cast<void>(take(std::string_view(kept_).substr(first, end - first)));
            first = end;
        }
        kept_ = {};
        kept_ends_ = {};
    }

    csv_labels kind_;
    bool known_; ///< the classes are
    std::size_t classes_ = 0;
    bool targets_taken_;
    bool detected_;
    bool all_labels_ = true;
    std::string kept_; ///< texts, one behind the other, while it is open what they mean
    std::vector<std::size_t> kept_ends_;
    std::string decisive_; ///< the field that decided, and where it stands
    std::string shown_;
    index_t line_ = 0;
    numbered_texts texts_;               ///< in the order of appearance, or of the known classes
    std::vector<std::int32_t> class_of_; ///< of a text, where the classes are known
};

/// What is done with the columns of a file.
struct csv_plan {
    static constexpr auto none = std::numeric_limits<std::size_t>::max();

    enum role_type : std::uint8_t { unused, feature, target, label };
    struct column {
        role_type role = unused;
        std::size_t slot = 0; ///< of the feature or target
    };

    std::vector<column> columns;
    std::size_t label_column = none;
    std::size_t width = 0;
    std::size_t target_width = 0;
    bool named = false; ///< a column is given by its name
};

/// `fields`: the first row. `fail` throws.
template <class Fail>
csv_plan plan_columns(std::vector<std::string> const& fields, csv_options const& options, Fail const& fail) {
    csv_plan plan;
    std::size_t const columns = fields.size();
    plan.columns.resize(columns);
    auto const check_index = [&](index_t index, std::string const& what) {
        if (index < 0 || static_cast<std::size_t>(index) >= columns) {
            fail(what + " " + std::to_string(index) + " (counted from 0) is not there: the row has " +
                 std::to_string(columns) + (columns == 1 ? " column" : " columns"));
        }
        return static_cast<std::size_t>(index);
    };
    auto const find_name = [&](std::string const& name) {
        plan.named = true;
        auto const is_it = [&](std::string const& field) { return trimmed(field) == name; };
        auto const found = std::find_if(fields.begin(), fields.end(), is_it);
        if (found == fields.end()) {
            constexpr std::size_t most = 30;
            std::string names;
            for (std::size_t c = 0; c < std::min(columns, most); ++c) {
                if (c != 0) names += ", ";
                names += shown_field(trimmed(fields[c]));
            }
            fail("no column is named '" + printable(name, 40) + "'; there are " + names +
                 (columns > most ? " and " + std::to_string(columns - most) + " more" : ""));
        }
        if (std::find_if(found + 1, fields.end(), is_it) != fields.end()) {
            fail("more than one column is named '" + printable(name, 40) + "'; say which by its number");
        }
        return static_cast<std::size_t>(found - fields.begin());
    };
    auto const use = [&](std::size_t c, csv_plan::role_type role, std::size_t slot) {
        constexpr char const* names[] = {"", "a feature", "a target", "the label"};
        csv_plan::column& column = plan.columns[c];
        if (column.role != csv_plan::unused) {
            fail("column " + std::to_string(c + 1) + " (" + shown_field(trimmed(fields[c])) + ") is used twice: as " +
                 names[column.role] + " and as " + names[role] +
                 (role == csv_plan::label ? "; csv_column::none is for tables without a label" : ""));
        }
        column = {role, slot};
    };
    auto const use_all = [&](csv_columns const& wanted, csv_plan::role_type role, std::string const& what) {
        for (std::size_t slot = 0; slot < wanted.size(); ++slot) {
            auto const* const name = std::get_if<std::string>(&wanted[slot]);
            use(name != nullptr ? find_name(*name) : check_index(std::get<index_t>(wanted[slot]), what), role, slot);
        }
    };
    use_all(options.targets, csv_plan::target, "target column");
    use_all(options.features, csv_plan::feature, "feature column");
    plan.target_width = options.targets.size();

    if (auto const* const name = std::get_if<std::string>(&options.label_column)) {
        plan.label_column = find_name(*name);
    } else if (auto const* const index = std::get_if<index_t>(&options.label_column)) {
        plan.label_column = check_index(*index, "label column");
    } else if (auto const column = std::get<csv_column>(options.label_column);
               column == csv_column::first || column == csv_column::last ||
               (column == csv_column::automatic && options.targets.empty())) {
        plan.label_column = column == csv_column::first ? 0 : columns - 1;
    }
    if (plan.label_column != csv_plan::none) {
        use(plan.label_column, csv_plan::label, 0);
    }
    plan.width = options.features.size();
    if (options.features.empty()) {
        for (csv_plan::column& column : plan.columns) {
            if (column.role == csv_plan::unused) {
                column = {csv_plan::feature, plan.width++};
            }
        }
    }
    if (plan.width == 0) {
        fail((options.targets.empty() ? "the label is the only column: " : "every column is a target or the label: ") +
             std::string("there are no features (is the separator '") + std::string(1, options.separator) + "'?)");
    }
    return plan;
}

/// Errors of the options alone.
inline void check_options(csv_options const& options) {
    auto const* const label = std::get_if<std::string>(&options.label_column);
    auto const refuse_name = [&](std::string const& what, std::string const& name) {
        if (options.header == csv_header::no) {
            throw data_error("read_csv: a " + what + " column given by name ('" + name + "') needs a header");
        }
    };
    if (label != nullptr) {
        refuse_name("label", *label);
    }
    for (auto const& column : options.targets) {
        if (auto const* const name = std::get_if<std::string>(&column)) {
            refuse_name("target", *name);
        }
    }
    for (auto const& column : options.features) {
        if (auto const* const name = std::get_if<std::string>(&column)) {
            refuse_name("feature", *name);
        }
    }
    auto const* const column = std::get_if<csv_column>(&options.label_column);
    bool const has_label = column == nullptr || *column == csv_column::first || *column == csv_column::last;
    if (options.labels == csv_labels::targets && !options.targets.empty() && has_label) {
        throw data_error(
            "read_csv: csv_labels::targets makes the label column a target, and csv_options::targets names "
            "others; name them all there and leave the label column out");
    }
}

} // namespace detail

template <number_type T> data_set_of<T> read_csv(file_path const& path, csv_options const& options) {
    using detail::csv_plan;
    detail::check_options(options);
    csv_reader rows(path, options.separator, options.quote);
    std::vector<std::string> first;
    if (!rows.next(first)) {
        throw file_error(rows.path() + ": has no rows");
    }
    std::size_t const columns = first.size();
    csv_plan const plan =
        detail::plan_columns(first, options, [&](std::string const& reason) { rows.fail(rows.line(), reason); });

    // Is the first row a header?
    bool header = options.header == csv_header::yes || plan.named;
    if (options.header == csv_header::guess && !header) {
        header = std::all_of(first.begin(), first.end(), detail::is_column_name);
    }
    // A row whose features are names here and there and nowhere numbers may be meant as a header: errors in it say so.
    bool unsure = false;
    if (!header && options.header == csv_header::guess) {
        bool number = false;
        for (std::size_t c = 0; c < columns; ++c) {
            unsure = unsure || (c != plan.label_column && detail::is_column_name(first[c]));
            number = number || detail::parse_number<T>(first[c]).reason == nullptr;
        }
        unsure = unsure && !number;
    }
    if (columns == 1 && options.empty) {
        rows.take_blank_lines();
    }
    detail::csv_label_column<T> labels(options, !options.targets.empty());
    data_set_of<T> result;
    result.width = static_cast<index_t>(plan.width);
    std::vector<std::string_view> fields(first.begin(), first.end());
    bool more = true;
    if (header) {
        result.feature_names.resize(plan.width);
        result.target_names.resize(plan.target_width);
        for (std::size_t c = 0; c < columns; ++c) {
            auto const [role, slot] = plan.columns[c];
            if (role == csv_plan::feature || role == csv_plan::target) {
                (role == csv_plan::feature ? result.feature_names : result.target_names)[slot] =
                    detail::trimmed(first[c]);
            }
        }
        more = rows.next(fields);
    }

    std::vector<T> features(plan.width); // of one row
    std::vector<T> targets(plan.target_width);
    for (; more; more = rows.next(fields)) {
        if (fields.size() != columns) {
            rows.fail(rows.line(), std::to_string(fields.size()) + (fields.size() == 1 ? " column" : " columns") +
                                       ", the first row has " + std::to_string(columns));
        }
        for (std::size_t c = 0; c < columns; ++c) {
            auto const refuse = [&](std::string const& reason) {
                rows.fail(
                    rows.line(),
                    "column " + std::to_string(c + 1) + ": " + detail::shown_field(fields[c]) + " " + reason +
                        (unsure && result.count == 0 ? "; if the row names the columns, say csv_header::yes" : ""));
            };
            auto const [role, slot] = plan.columns[c];
            if (role == csv_plan::unused) {
                continue;
            }
            if (role == csv_plan::label) {
                if (std::string const reason = labels.take(fields[c], rows.line(), result); !reason.empty()) {
                    refuse(reason);
                }
                continue;
            }
            detail::parsed_number<T> number = detail::parse_number<T>(fields[c]);
            if (number.reason != nullptr) {
                if (role == csv_plan::target || !options.empty || !detail::trimmed(fields[c]).empty()) {
                    refuse(number.reason);
                }
                number.value = static_cast<T>(*options.empty);
            }
            (role == csv_plan::feature ? features : targets)[slot] = number.value;
        }
        result.features.insert(result.features.end(), features.begin(), features.end());
        result.targets.insert(result.targets.end(), targets.begin(), targets.end());
        ++result.count;
    }
    if (result.count == 0) {
        throw file_error(rows.path() + ": has a header but no rows");
    }
    result.target_width = static_cast<index_t>(plan.target_width);
    if (plan.label_column != csv_plan::none) {
        labels.finish(options, result);
        if (labels.holds_targets()) {
            result.target_width = 1;
            if (header) {
                result.target_names.emplace_back(detail::trimmed(first[plan.label_column]));
            }
        }
    }
    return result;
}

#if !defined(ESPALIER_HEADER_ONLY)
template data_set_of<float> read_csv<float>(file_path const&, csv_options const&);
template data_set_of<double> read_csv<double>(file_path const&, csv_options const&);
#endif

} // namespace espalier
