// Every limit at its value and one past it; hostile templates end quickly with
// an error; no sequence of bytes makes the engine crash.
#include <ctime>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "inferd/text/chat_template.h"
#include "support/sanitizers.h"

namespace inferd {
namespace {

using Json = nlohmann::ordered_json;

// Sanitizers are an order of magnitude slower, and builds for them are not optimized.
constexpr double kMaxSeconds = testing::kSanitized ? 60 : 2;

// What this thread has computed so far; a busy machine does not count.
double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

Status TryRender(const std::string& source, const ChatTemplateLimits& limits,
                 const Json& kwargs = Json::object()) {
  const auto compiled = ChatTemplate::Compile(source, limits);
  if (!compiled.ok()) return compiled.status();
  const Json messages = Json::array({{{"role", "user"}, {"content", "hello"}}});
  return (*compiled)->Render(messages, nullptr, kwargs, {}).status();
}

std::string Repeat(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

void ExpectRefused(const Status& status) {
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  ASSERT_NE(status.detail(), nullptr);
  EXPECT_EQ(status.detail()->reason, "CHAT_TEMPLATE_ERROR");
}

TEST(ChatTemplateLimitsTest, SourceBytes) {
  ChatTemplateLimits limits;
  limits.max_source_bytes = 10;
  EXPECT_TRUE(TryRender(std::string(10, 'x'), limits).ok());
  ExpectRefused(TryRender(std::string(11, 'x'), limits));
}

TEST(ChatTemplateLimitsTest, OutputBytes) {
  ChatTemplateLimits limits;
  limits.max_output_bytes = 10;
  EXPECT_TRUE(TryRender("{{ 'x' * 10 }}", limits).ok());
  ExpectRefused(TryRender("{{ 'x' * 11 }}", limits));
  EXPECT_TRUE(TryRender("{% for i in range(5) %}ab{% endfor %}", limits).ok());
  ExpectRefused(TryRender("{% for i in range(5) %}ab{% endfor %}c", limits));
}

TEST(ChatTemplateLimitsTest, StringBytes) {
  ChatTemplateLimits limits;
  limits.max_string_bytes = 10;
  const std::vector<std::pair<std::string, std::string>> at_and_past = {
      {"'x' * 10", "'x' * 11"},
      {"'aaaaa' ~ 'bbbbb'", "'aaaaa' ~ 'bbbbbb'"},
      {"'aaaaa' + 'bbbbb'", "'aaaaa' + 'bbbbbb'"},
      {"'a' | center(10)", "'a' | center(11)"},
      {"'a' | indent(9, true)", "'a' | indent(10, true)"},
      {"'a'.ljust(10)", "'a'.ljust(11)"},
      {"'%10d' % 1", "'%11d' % 1"},
      {"'{:10}'.format('a')", "'{:11}'.format('a')"},
      {"'aaaaa' | replace('a', 'bb')", "'aaaaaa' | replace('a', 'bb')"},
      {"['aaaa', 'bbbb'] | join('--')", "['aaaa', 'bbbb'] | join('---')"},
      {"['aaa', 1] | tojson", "['aaaa', 1] | tojson"},
  };
  for (const auto& [at, past] : at_and_past) {
    EXPECT_TRUE(TryRender("{{ " + at + " }}", limits).ok()) << at;
    SCOPED_TRACE(past);
    ExpectRefused(TryRender("{{ " + past + " }}", limits));
  }
}

TEST(ChatTemplateLimitsTest, Operations) {
  ChatTemplateLimits limits;
  const std::string source = "{% for i in range(100) %}{{ i }}{% endfor %}";
  // The smallest number that is enough; one less is not.
  int64_t low = 0;
  int64_t high = 1'000'000;
  while (low + 1 < high) {
    limits.max_operations = (low + high) / 2;
    (TryRender(source, limits).ok() ? high : low) = limits.max_operations;
  }
  EXPECT_GT(high, 100);
  EXPECT_LT(high, 10'000);
  limits.max_operations = high;
  EXPECT_TRUE(TryRender(source, limits).ok());
  limits.max_operations = high - 1;
  ExpectRefused(TryRender(source, limits));
}

TEST(ChatTemplateLimitsTest, DepthOfSyntax) {
  const ChatTemplateLimits limits;  // 64
  EXPECT_TRUE(TryRender("{{ " + Repeat("(", 60) + "1" + Repeat(")", 60) + " }}", limits).ok());
  ExpectRefused(TryRender("{{ " + Repeat("(", 65) + "1" + Repeat(")", 65) + " }}", limits));
  EXPECT_TRUE(TryRender(Repeat("{% if 1 %}", 60) + Repeat("{% endif %}", 60), limits).ok());
  ExpectRefused(TryRender(Repeat("{% if 1 %}", 65) + Repeat("{% endif %}", 65), limits));
  for (const char* open : {"[", "{1:", "not ", "-", "f(", "x[", "1 if ", "(", "'a' ~ ("}) {
    SCOPED_TRACE(open);
    ExpectRefused(TryRender("{{ " + Repeat(open, 100'000), limits));
  }
  ExpectRefused(TryRender("{{ x" + Repeat(".y", 100'000) + " }}", limits));
  ExpectRefused(TryRender("{{ x" + Repeat("|trim", 100'000) + " }}", limits));
  // Long chains are not deep.
  EXPECT_TRUE(TryRender("{{ 1" + Repeat(" + 1", 10'000) + " }}", limits).ok());
  EXPECT_TRUE(TryRender("{{ 1" + Repeat(" and 1", 10'000) + " }}", limits).ok());
  EXPECT_TRUE(TryRender("{{ 'a'" + Repeat(" ~ 'b'", 10'000) + " }}", limits).ok());
  EXPECT_TRUE(
      TryRender("{% if 0 %}" + Repeat("{% elif 0 %}", 10'000) + "{% endif %}", limits).ok());
}

TEST(ChatTemplateLimitsTest, DepthOfMacroCalls) {
  const ChatTemplateLimits limits;
  const auto source = [](int n) {
    return "{% macro f(n) %}{% if n > 1 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(" +
           std::to_string(n) + ") }}";
  };
  EXPECT_TRUE(TryRender(source(64), limits).ok());
  ExpectRefused(TryRender(source(65), limits));
}

TEST(ChatTemplateLimitsTest, DepthOfValues) {
  const ChatTemplateLimits limits;
  const auto source = [](int n) {
    return "{% set ns = namespace(v=1) %}{% for i in range(" + std::to_string(n) +
           ") %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}";
  };
  EXPECT_TRUE(TryRender(source(64), limits).ok());
  ExpectRefused(TryRender(source(65), limits));
  const auto json = [](int n) { return Json::parse(Repeat("[", n) + Repeat("]", n)); };
  EXPECT_TRUE(TryRender("{{ v }}", limits, {{"v", json(64)}}).ok());
  ExpectRefused(TryRender("{{ v }}", limits, {{"v", json(65)}}));
  ExpectRefused(TryRender("{% set ns = namespace() %}{% set ns.a = ns %}", limits));
}

TEST(ChatTemplateLimitsTest, InputThatIsNotUtf8) {
  ExpectRefused(TryRender("\xff", {}));
  ExpectRefused(TryRender("{{ v }}", {}, {{"v", "\xc0\x80"}}));
  ExpectRefused(TryRender("{{ v }}", {}, {{"messages", 1}}));
}

TEST(ChatTemplateLimitsTest, HostileTemplatesEndSoon) {
  const std::string forever =
      "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}";
  const std::vector<std::string> sources = {
      forever,
      "{% for a in range(99999) if false %}{% endfor %}" + forever,
      "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{% set ns = namespace(s='x') %}{% for i in range(99999) %}{% set ns.s = ns.s ~ "
      "'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy' %}{% endfor %}",
      "{% set ns = namespace(s=['x']) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "{{ ['x'] * 10 ** 9 }}",
      "{{ 'x' * 10 ** 12 }}",
      "{{ [''] * 9223372036854775807 }}",
      "{{ range(10 ** 9) }}",
      "{{ range(-9223372036854775807, 9223372036854775807) }}",
      "{{ 'x' | indent(10 ** 10, true) }}",
      "{{ 'x' | center(10 ** 10) }}",
      "{{ 'x'.ljust(10 ** 18) }}",
      "{{ '%2000000000d' % 1 }}",
      "{{ '{:2000000000}'.format(1) }}",
      "{{ '%.2000000000f' % 1 }}",
      "{{ strftime_now('%2000000000d') }}",
      "{{ [1] | tojson(indent=10 ** 10) }}",
      "{{ 2 ** 2 ** 62 }}",
      "{{ 9 ** 99999999999 }}",
      "{{ 9223372036854775807 | round(-19) }}",
      "{{ -(-9223372036854775807 - 1) }}",
      "{{ 'abc'.removeprefix(('a', 'b')) }}",
      "{% set ns = namespace(d={}) %}{% for i in range(99999) %}{% set ns.d = dict(ns.d, **{i ~ "
      "'': i}) %}{% endfor %}",
      "{% set x = ('ab' * 1000000) %}{% for i in range(99999) %}{{ x.replace('a', 'b') | length "
      "}}{% endfor %}",
      "{% set x = ('a' * 4000000) %}{% for i in range(99999) %}{{ ('a' * 2000000 ~ 'b') in x }}{% "
      "endfor %}",
      "{% set x = ('a' * 4000000) %}{% for i in range(99999) %}{{ x == x ~ '' }}{% endfor %}",
      "{% set x = range(99999) | list %}{% for i in x %}{{ i in x }}{% endfor %}",
      "{% set x = range(99999) | list %}{% for i in x %}{{ x[1:] | length }}{% endfor %}",
      "{% set x = range(50000) | list %}{% for i in x %}{% for j in x | sort | reverse | unique "
      "%}{% endfor %}{% endfor %}",
      "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
      "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
      "{% set x = ['a'] * 1000 %}{% set y = [x] * 1000 %}{% set z = [y] * 1000 %}{{ z | tojson }}",
      "{% set x = ['a'] * 1000 %}{% set y = [x] * 1000 %}{% set z = [y] * 1000 %}{{ z == [y] * "
      "1000 }}",
      "{% set x = 'a b ' * 200000 %}{% for i in range(9999) %}{{ x.split() | length }}{% endfor %}",
      "{% for i in range(99999) %}{{ strftime_now('%c' * 500) | length }}{% endfor %}",
      Repeat("{% set a = 1 %}", 60'000) + "{{ x }",
      Repeat("{", 1'000'000),
      Repeat("{% ", 300'000),
      Repeat("{# ", 300'000),
      Repeat("{% raw %}", 100'000),
      "{{ " + Repeat("1,", 400'000) + " }",
      "{{ " + Repeat("'", 999'001) + " }}",
  };
  for (const std::string& source : sources) {
    SCOPED_TRACE(source.substr(0, 120));
    const double start = CpuSeconds();
    ExpectRefused(TryRender(source, {}));
    EXPECT_LT(CpuSeconds() - start, kMaxSeconds);
  }
}

TEST(ChatTemplateLimitsTest, ManyVariablesAreCharged) {
  std::string source;
  for (int i = 0; i < 30'000; ++i) source += "{% set a" + std::to_string(i) + "=1 %}";
  const double start = CpuSeconds();
  (void)TryRender(source + "{% for i in range(99999) %}{{ zz }}{% endfor %}", {});
  EXPECT_LT(CpuSeconds() - start, kMaxSeconds);
}

TEST(ChatTemplateLimitsTest, CompileErrorsNameTheLine) {
  const auto message = [](const std::string& source) {
    return ChatTemplate::Compile(source, {}).status().message();
  };
  EXPECT_NE(message("\n\n{{ x | nofilter }}").find("line 3: unknown filter 'nofilter'"),
            std::string::npos);
  EXPECT_NE(message("\n{{ x is notest }}").find("line 2: unknown test 'notest'"),
            std::string::npos);
  EXPECT_NE(message("{{ nofunction() }}").find("line 1: unknown function 'nofunction'"),
            std::string::npos);
  EXPECT_NE(message("{% for x in y recursive %}{% endfor %}").find("recursive"), std::string::npos);
}

TEST(ChatTemplateLimitsTest, RaisedMessagesAreReportedAsTheyAre) {
  const Status status = TryRender("{{ raise_exception('Roles must alternate.') }}", {});
  ExpectRefused(status);
  EXPECT_EQ(status.detail()->field, "messages");
  EXPECT_NE(status.message().find("Roles must alternate."), std::string::npos);
}

TEST(ChatTemplateLimitsTest, ArgumentsAtTheEdgesOfTheirRange) {
  for (const char* expression :
       {"'-7'.zfill(-9223372036854775807 - 1)", "'abc'.removeprefix(affix='a')",
        "'abc'.find('b', -9223372036854775807 - 1, 9223372036854775807)",
        "'abc'[-9223372036854775807 - 1:9223372036854775807:9223372036854775807]",
        "'abc'[::-9223372036854775807 - 1]", "[1, 2][9223372036854775807:]",
        "'a'.ljust(-9223372036854775807 - 1)", "[1] * (-9223372036854775807 - 1)",
        "'a' | indent(-9223372036854775807 - 1)", "'abc'.split('b', -9223372036854775807 - 1)",
        "(-9223372036854775807 - 1) % -1", "1.5 | round(9223372036854775807)",
        "1.5 | round(-9223372036854775807 - 1)", "'abc'[-9223372036854775807 - 1]",
        "[1][-9223372036854775807 - 1]"}) {
    const Status status = TryRender(std::string("{{ ") + expression + " }}", {});
    EXPECT_TRUE(status.ok()) << expression << ": " << status.ToString();
  }
}

// Pieces of templates in random order, and random bytes changed in them.
TEST(ChatTemplateLimitsTest, RandomTemplatesDoNotCrash) {
  const std::vector<std::string> pieces = {"{% for m in messages %}",
                                           "{% endfor %}",
                                           "{% if ",
                                           "{% elif ",
                                           " %}",
                                           "{% endif %}",
                                           "{{ ",
                                           " }}",
                                           "m.content",
                                           "messages",
                                           "| upper",
                                           "| tojson(indent=2)",
                                           "| replace('e', 'xx')",
                                           "| list",
                                           "| sort",
                                           "| map('upper')",
                                           "| join(', ')",
                                           " + ",
                                           " ~ ",
                                           " * 3",
                                           " % ",
                                           "'%s'",
                                           "[1:]",
                                           "[::-1]",
                                           "[-1]",
                                           "(",
                                           ")",
                                           "[",
                                           "]",
                                           "{",
                                           "}",
                                           "'text'",
                                           "{% set x = ",
                                           "x",
                                           "1",
                                           "0",
                                           "2.5",
                                           "none",
                                           " in ",
                                           " not ",
                                           " and ",
                                           " if ",
                                           " else ",
                                           " is defined",
                                           " is string",
                                           "{% macro f(a, b=1) %}",
                                           "{% endmacro %}",
                                           "f(1)",
                                           "f(x, b=2)",
                                           "range(5)",
                                           "namespace(a=1)",
                                           "{% set x.a = ",
                                           ".a",
                                           "{% raw %}",
                                           "{% endraw %}",
                                           "{# c #}",
                                           "-%}",
                                           "{%- ",
                                           "loop.index",
                                           "loop.last",
                                           "{% break %}",
                                           "{% continue %}",
                                           "{% filter trim %}",
                                           "{% endfilter %}",
                                           "{% call f() %}",
                                           "{% endcall %}",
                                           "caller()",
                                           ".split(' ')",
                                           ".items()",
                                           "{'a': 1}",
                                           "\n",
                                           "  ",
                                           "é",
                                           ",",
                                           "=",
                                           ".strip()",
                                           "| dictsort",
                                           "| selectattr('role')",
                                           ".format(1)",
                                           "'{:>5}'"};
  std::mt19937 random(12345);
  const auto below = [&random](size_t n) { return static_cast<size_t>(random()) % n; };
  ChatTemplateLimits limits;
  limits.max_operations = 20'000;
  int rendered = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string source;
    const size_t length = 1 + below(25);
    for (size_t i = 0; i < length; ++i) source += pieces[below(pieces.size())];
    if (round % 2 == 0) source = "{{ " + source + " }}";
    if (round % 3 == 0) {
      for (size_t i = 0; i < 3; ++i) source[below(source.size())] = static_cast<char>(below(128));
    }
    if (TryRender(source, limits).ok()) ++rendered;
  }
  EXPECT_GT(rendered, 50);
}

}  // namespace
}  // namespace inferd
