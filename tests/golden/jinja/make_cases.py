"""Renders many small templates with the Jinja environment of transformers and writes cases.json.

Each case: {template, variables, output} or {template, variables, error: true}.

usage: python3 make_cases.py
"""

import json
import os

from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))

VARIABLES = {
    "s": "Hello World", "t": "  spaced\tout \n", "u": "äÖß ŁÓDŹ 東京 😀", "e": "", "q": "it's \"q\" \\ \n\x01é",
    "n": 7, "z": 0, "neg": -3, "f": 2.5, "big": 123456789012, "tiny": 1e-7, "huge": 1e22, "yes": True, "no": False, "nil": None,
    "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "mixed": [1, "a", None, True, 2.0, [1, {"k": "v"}]],
    "d": {"b": 1, "a": {"x": [1, 2]}, "items": "shadow", "C": None}, "empty": {}, "el": [],
    "users": [{"name": "Bo", "age": 30, "on": True, "tag": "x"}, {"name": "al", "age": 20, "on": False},
              {"name": "Cy", "age": 30, "on": True, "tag": None}],
    "lines": "one\ntwo\n\nfour\r\nfive\n", "csv": "a,b,,c", "num": "42", "fnum": " 3.75 ", "hex": "0x1F",
}

ATOMS = ["s", "t", "u", "e", "q", "n", "z", "neg", "f", "big", "tiny", "huge", "yes", "no", "nil", "l", "ls", "mixed", "d",
         "empty", "el", "users", "missing", "num", "(1, 2)", "(1,)", "()", "{'a': 1}", "'lit'", "1", "1.0"]

EXPRESSIONS = r"""
1 + 2 * 3 - 4
2 ** 3 ** 2
-2 ** 2
7 // 2 ~ ' ' ~ (-7 // 2) ~ ' ' ~ (7 // -2)
7 % 3 ~ ' ' ~ -7 % 3 ~ ' ' ~ 7 % -3
7.5 // 2 ~ ' ' ~ -7.5 // 2 ~ ' ' ~ -7.5 % 2 ~ ' ' ~ 7.5 % -2
1 / 3
4 / 2
2 ** -1
2 ** 0.5
10 / 0
10 // 0
10 % 0
1_000 + 0x10 + 0b11 + 0o17
1e3
1.5e-5
0.1 + 0.2
1e16
123456789.123
1e15
'a' 'b' "c"
'a' + 'b' * 3
3 * 'ab'
'a' + 1
[1] + [2, 3]
(1, 2) + (3,)
[1] + (2,)
[0] * 3
'x' * -1
true + true
not 1 == 2
not not 0
1 < 2 < 3
1 < 3 < 2
3 > 2 >= 2 == 2
1 == 1.0
1 == true
'a' < 'b'
'a' < 1
none < 1
[1, 2] < [1, 3]
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
'ell' in s
'x' not in s
1 in l
4 not in l
'b' in d
'zz' in d
1 in 'abc'
none in [none]
1 and 0
0 or 'x'
'' or none
1 and 'y' or 'n'
missing or 'fallback'
missing.x
missing['x']
missing + 1
missing ~ 'x'
missing == missing
missing is defined
d.missing.more
d.missing is defined
d.a.x[1]
d['a']['x'][-1]
d.items
d['items']
d.items()
d.keys()
d.values()
d.items() | list
d.get('b')
d.get('zz')
d.get('zz', 5)
l[0]
l[-1]
l[9]
l['0']
l[9].x
l.0
l[1:]
l[:2]
l[::-1]
l[::2]
l[5:1:-1]
l[-2:]
l[:-1]
l[1:1]
l[::0]
s[0]
s[-1]
s[99]
s[2:5]
s[::-1]
s[::3]
s[-5:-1]
u[1:4]
u[-1]
u[::-2]
(1, 2, 3)[1:]
(1, 2, 3)[0]
1[0]
none[0]
none.x
range(5)
range(5) | list
range(2, 8, 3) | list
range(5, 0, -2) | list
range(3)[1]
range(0)
range(1000000)
range(5) | length
range('a')
dict(a=1, b='x')
dict({'a': 1}, b=2)
dict([('a', 1), ('b', 2)])
namespace(a=1).a
namespace({'a': 2}).a
namespace(_x=1)
'yes' if n else 'no'
'yes' if z
('yes' if z) is defined
'a' if z else 'b' if z else 'c'
[1, 'two', 3.0, none, true]
{'a': 1, 2: 'b', none: 3, 1.5: 4, true: 5}
{'a': 1, 'a': 2}
{1: 'a', 1.0: 'b', true: 'c'}
{[1]: 2}
'it\'s'
"tab\tnew\nline\\ \x41 é 😀 \101 \q"
[q, 'a"b', "a'b", 'a\'b"c']
u | list
s.upper()
s.lower()
u.upper()
u.lower()
u.title()
u.capitalize()
s.swapcase()
'hello wORLD-foo it\'s x1y'.title()
'hello wORLD-foo (it\'s) x1y' | title
'hELLO' | capitalize
t.strip()
t.lstrip()
t.rstrip()
'xxaxx'.strip('x')
'xyaxy'.lstrip('yx')
'xyaxy'.rstrip('y')
t | trim
'--a--' | trim('-')
csv.split(',')
csv.split(',', 1)
csv.split(',', maxsplit=2)
csv.rsplit(',', 1)
t.split()
'a b  c  '.split(none, 1)
'  a b c '.rsplit(none, 1)
'abc'.split('')
'aXXbXXc'.rsplit('XX', 1)
'aaa'.split('aa')
'aaa'.rsplit('aa')
lines.splitlines()
lines.splitlines(true)
csv.partition(',')
csv.rpartition(',')
csv.partition(';')
csv.rpartition(';')
s.startswith('He')
s.startswith(('x', 'H'))
s.startswith(['x'])
s.startswith('')
s.endswith('ld')
s.endswith(n)
s.removeprefix('Hello ')
s.removesuffix('World')
s.removesuffix('x')
s.replace('l', 'L')
s.replace('l', 'L', 2)
s.replace('', '-')
''.replace('', 'x')
s.replace('o', '')
s | replace('o', '0')
s | replace('o', '0', 1)
n | replace(7, 8)
s.find('o')
s.find('o', 5)
s.find('zz')
s.rfind('o')
s.index('W')
s.index('zz')
u.find('東')
s.count('l')
'aaaa'.count('aa')
'abc'.count('')
','.join(ls)
','.join(l)
''.join(u)
l | join
l | join('-')
l | join(1)
users | join(', ', attribute='name')
mixed | join('|')
none | join
'{} and {}'.format(1, 'x')
'{0}{1}{0}'.format('a', 'b')
'{a} {b.x} {c[0]} {c[k]}'.format(a=1, b=d.a, c={'k': 2, 0: 3})
'{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}'.format('a', 'b', 'c', 42, 3.14159, 1234567)
'{:+d} {:x} {:X} {:o} {:b} {:e} {:g} {:%}'.format(5, 255, 255, 8, 5, 12345.678, 0.0001, 0.25)
'{!r} {!s}'.format('a', 'b')
'{{}} {}'.format(1)
'{}'.format()
'{'.format(1)
'{:5}|{:5}'.format(1, 1.5)
'%s and %d' % ('a', 5)
'%s' % 'x'
'%s' % [1, 2]
'%5d|%-5d|%05d|%+d' % (42, 42, 42, 42)
'%.2f %e %g' % (3.14159, 12345.678, 0.00001)
'%x %X %o' % (255, 255, 8)
'%r' % 'a'
'%%' % ()
'%s %s' % ('a',)
'%s' % ('a', 'b')
'%(a)s-%(b)d' % {'a': 'x', 'b': 3}
'%d' % 'x'
'%d' % 3.99
'%10.3s|' % 'abcdef'
'%s, %s!' | format('a', 'b')
'%(x)s' | format(x=1)
'7'.zfill(3) ~ '-7'.zfill(4)
'a'.center(5, '*') ~ 'ab'.center(5) ~ 'a'.ljust(3, '.') ~ 'a'.rjust(3)
'a' | center(6)
'abc'.isalpha() ~ 'ab1'.isalpha() ~ '12'.isdigit() ~ ''.isdigit() ~ 'a1'.isalnum() ~ ' '.isspace()
'AB'.isupper() ~ 'Ab'.isupper() ~ '1'.islower() ~ 'é'.islower()
'é'.isalpha() ~ '²'.isdigit() ~ '一'.isalnum()
s.foo
s.foo()
l.append(4)
l.append
l.append is defined
l.count(1)
l.index(2)
l.index(99)
d.pop('b')
d.update({})
d.copy()
l.__class__
s.__class__.__mro__
d | tojson
mixed | tojson
q | tojson
u | tojson
u | tojson(ensure_ascii=true)
d | tojson(indent=2)
mixed | tojson(indent=4)
el | tojson(indent=2)
empty | tojson(indent=2)
d | tojson(sort_keys=true)
d | tojson(separators=(',', ':'))
d | tojson(indent='--')
users | tojson
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
(1, 2) | tojson
missing | tojson
range(3) | tojson
d.items() | tojson
l | map('string') | tojson
[1e22, 1e-7, 1.0, -0.0, 1e16, 123456.789] | tojson
s | length
u | length
d | length
n | length
none | length
missing | length
el | count
missing | default('x')
missing | default
nil | default('x')
nil | default('x', true)
e | d('x', true)
missing | d(default_value=3)
s | upper
n | upper
s | lower
none | lower
users | map(attribute='name') | list
users | map(attribute='tag') | list
users | map(attribute='tag', default='?') | list
ls | map('upper') | join(',')
l | map('string') | list
['a b', 'c'] | map('replace', ' ', '_') | list
l | map('nope') | list
users | selectattr('on') | map(attribute='name') | list
users | rejectattr('on') | map(attribute='name') | list
users | selectattr('age', 'equalto', 30) | map(attribute='name') | list
users | selectattr('age', '>', 20) | list | length
users | selectattr('tag', 'defined') | map(attribute='name') | list
users | rejectattr('tag', 'none') | map(attribute='name') | list
users | selectattr('name', 'in', ['Bo', 'Cy']) | list | length
l | select('odd') | list
l | reject('odd') | list
mixed | select('string') | list
mixed | select | list
l | select('gt', 1) | list
users | map(attribute='name') | first
users | map(attribute='name') | last
users | map(attribute='name') | length
l | first
l | last
el | first
el | last
s | first
d | first
l | list
s | list
d | list
n | list
l | sort
ls | sort
ls | sort(case_sensitive=true)
ls | sort(reverse=true)
l | sort(true)
users | sort(attribute='age') | map(attribute='name') | list
users | sort(attribute='age,name') | map(attribute='name') | list
users | sort(attribute='name', reverse=true) | map(attribute='name') | list
mixed | sort
l | reverse | list
s | reverse
l | reverse
['a', 'A', 'b', 'a'] | unique | list
['a', 'A', 'b', 'a'] | unique(true) | list
users | unique(attribute='age') | map(attribute='name') | list
[[1], [1]] | unique | list
l | max
l | min
ls | max
el | max
users | max(attribute='age')
l | sum
users | sum(attribute='age')
l | sum(start=10)
ls | sum
d | dictsort
d | dictsort(reverse=true)
{'a': 2, 'b': 1} | dictsort(by='value')
{'a': 2, 'B': 1} | dictsort(true)
d | items | list
missing | items | list
l | items | list
lines | indent
lines | indent(2)
lines | indent(2, true)
lines | indent(2, true, true)
lines | indent(2, blank=true)
lines | indent('> ')
lines | indent(width=1, first=true)
'' | indent(2, true)
n | indent
num | int
fnum | int
fnum | float
s | int
s | int(-1)
s | float
s | float(1.5)
hex | int(base=16)
hex | int
'1_000' | int
'1e3' | float
'1e3' | int
'inf' | float
'nan' | float
'inf' | int
nil | int
f | int
neg | float
missing | int
2.5 | round
3.5 | round
2.675 | round(2)
-1.5 | round
1234.567 | round(-2)
7 | round
2.1 | round(0, 'ceil')
2.19 | round(1, 'floor')
2.1 | round(method='up')
s | round
neg | abs
-2.5 | abs
s | abs
true | abs
'<a href="x">&\'' | e
'<a>' | escape
'<a>' | safe
s | wordcount
"it's a-b c_d 東京" | wordcount
n | string
l | string
nil | string
s | string | length
[none, true, 1.0] | string
s | attr('upper')
d | attr('b')
s is string
n is string
n is number
yes is number
yes is boolean
yes is integer
n is integer
f is float
nil is none
missing is none
missing is undefined
d is mapping
l is sequence
s is sequence
d is sequence
n is sequence
l is iterable
n is iterable
missing is iterable
range(3) is sequence
d.items() is sequence
d.items() is iterable
yes is true
n is true
no is false
n is odd
n is even
neg is odd
f is even
n is divisibleby 7
n is divisibleby(2)
s is divisibleby 2
n is eq 7
n is equalto(7)
n is == 7
n is ne 7
n is gt 3
n is lt 3
n is ge 7
n is le 7
s is gt 3
n is in [7]
n is in l
s is lower
s is upper
'abc' is lower
'ABC' is upper
n is not none
n is not divisibleby 2
not n is none
n is sameas 7
nil is sameas none
yes is sameas true
range is callable
s is callable
'upper' is filter
'nope' is filter
'odd' is test
n is defined and s is defined
n is none or s is string
1 if n is none else 2
s | upper | lower | title
-n | abs
(-n) | string ~ 'x'
n + 1 | string
n | string + 'x'
not n | string
s ~ n ~ nil ~ yes ~ f ~ l ~ d
1, 2
1,
(1)
()
[1, 2,]
{'a': 1,}
{'a': [1, {'b': (2, 3)}]}
[[[]]]
d.a.x | length > 1
'a.b' .split('.')[0]
[1, 2, 3][n - 7]
l[n - 100:]
9223372036854775807
9223372036854775807 // -1
1.0 * 3
3.0 // 1
1e308 * 10
-1e308 * 10
5 in (1, 5)
'' in 'abc'
'' in ''
loop
loop is defined
caller is defined
s|upper if n else s|lower
[s if n else 1, 2]
range(3) | map('string') | join('')
range(3, 0) | list
'abc' | list | reverse | join
u.encode
'ǅ'.lower() ~ 'ŉ'.upper() ~ 'ﬁ'.upper() ~ 'İ'.lower()
'\u00a0x\u2003' | trim
'\u2028a\x85b' | indent(1)
['\u200b', '\ufeff', '\x7f', '\u00ad', 'é', '\U0001F600']
'a\x1cb'.split()
'1' + '2' | int
('1' + '2') | int
1 | int | string | int
1.5 | string | float
l.copy() + [1]
'%s' % missing
'%s' % none
'{}'.format(none)
[missing]
{'a': missing}
'x' is in 'xyz'
"a" < "B"
{'a': 1}.a
{'a': 1}['a']
{'keys': 1}.keys()
{'keys': 1}['keys']
[1, [2, 3]][1][0]
'a,b;c'.replace(',', ';').split(';') | last
(l | sort)[0]
(users | map(attribute='age') | list) | sum
users[0].name.upper()[0]
users[-1]['name']
users[0]['missing'] is defined
users | map('length') | list
strftime_now('%Y')|length
"x" "y" | upper
""".strip("\n").split("\n")

TEMPLATES = [
    "{% if n %}a{% elif s %}b{% else %}c{% endif %}", "{% if z %}a{% elif s %}b{% else %}c{% endif %}",
    "{% if z %}a{% elif nil %}b{% else %}c{% endif %}", "{% if z %}a{% endif %}|",
    "{% for x in l %}{{ x }},{% endfor %}", "{% for x in el %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}-{{ loop.nextitem }};{% endfor %}", "{% for x in l %}{{ loop.previtem.y }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in l %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in [1,1,2] %}{{ loop.changed(x) }} {% endfor %}", "{% for x in l %}{{ loop.depth }}{% for y in l %}{{ loop.depth0 }}{% endfor %}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d | items %}{{ k }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}[{{ c }}]{% endfor %}", "{% for x in n %}{% endfor %}", "{% for x in nil %}{% endfor %}",
    "{% for x in missing %}a{% else %}b{% endfor %}", "{% for a, b in [[1, 2], (3, 4), 'xy'] %}{{ a }}{{ b }};{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{% for (a, (b, c)) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }}{% endfor %}", "{% for x in l if x > 9 %}{{ x }}{% else %}E{% endfor %}",
    "{% set ns = namespace(go=true) %}{% for x in l if ns.go %}{{ x }}{% set ns.go = false %}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% break %}", "{% for x in l %}{% set y = x %}{% endfor %}{{ y }}", "{% set y = 0 %}{% for x in l %}{{ y }}{% set y = x %}{% endfor %}{{ y }}",
    "{% set ns = namespace(c=0) %}{% for x in l %}{% set ns.c = ns.c + x %}{% endfor %}{{ ns.c }}", "{% set s.x = 1 %}", "{% set ns = namespace() %}{{ ns.nope is defined }}{{ ns.nope }}",
    "{% set ns = namespace(a=[]) %}{% set ns.a = ns.a + [1] %}{{ ns.a }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1, 2, 3] %}", "{% set a = 1, 2 %}{{ a }}",
    "{% set x %}block {{ n }}{% endset %}{{ x }}|{{ x | upper }}", "{% set x | upper %}abc{% endset %}{{ x }}", "{% set x | trim | upper %} abc {% endset %}{{ x }}",
    "{% if n %}{% set w = 1 %}{% endif %}{{ w }}", "{% set n = n + 1 %}{{ n }}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aca{% endfilter %}", "{% filter indent(2) %}a\nb{% endfilter %}",
    "{% macro m(a, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(z=2) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, a=3) }}", "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(4) }}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}", "{% macro m() %}{{ n }}{% set n = 1 %}{% endmacro %}{{ m() }}{{ n }}", "{% macro m() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ m() }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ m() }}{% macro m() %}{% endmacro %}", "{% macro m() %}x{% endmacro %}{{ m.name }}{{ m() | length }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in {{ n }}{% endcall %}", "{% macro m() %}<{{ caller(3) }}>{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}", "{% macro m() %}{% endmacro %}{% call m() %}x{% endcall %}",
    "{% macro m(l) %}{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}{% endmacro %}{{ m(l) }}{{ m(ls) }}", "{% macro a() %}A{% endmacro %}{% macro b() %}{{ a() }}B{% endmacro %}{{ b() }}",
    "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% set f = range %}{{ f(3) | list }}",
    "{% raw %}{{ x }}{% if %}{% endraw %}", "{% raw %}\n a {% endraw %}\nb", "{%- raw -%}  a  {%- endraw -%}  b", "a {% raw %} {# x #} {% endraw %} b", "{% raw %}x",
    "a{# comment #}b", "a {#- c -#} b", "{# x #}\nb", "  {# x #}  \nb", "{# unclosed", "{#-#}x", "a\n  {# c #}\n  b",
    "{% generation %}a{{ n }}{% endgeneration %}b", "{% for m in l %}{% generation %}{{ m }}{% endgeneration %}{% endfor %}",
    "  {% if n %}\n  x\n  {% endif %}\n  y", "  {%+ if n %}\n  x\n  {%+ endif %}\n  y", "  {%- if n -%}\n  x\n  {%- endif -%}\n  y", "a\n\n  {%- if n %}\n  x\n{% endif +%}\n  y",
    "\t{% set x = 1 %}\n\n{{ x }}", "x {% if n %} y {% endif %} z", "x {{ n }} \n  {{ n }}\n", "x {{- n -}} y", "  {{ n }}  ", "\n{{ n }}\n\n", "{{ n }}\n", "{{ n }}\r\nb\rc", "a\n  {{- ' b' }}", "{%- if n %} a {%- endif %}", "{{+ n }}", "{{ n +}}",
    "  {% if n %}{% if n %}\n a {% endif %}{% endif %}\n b", "{% if n %}  {% if n %}  a{% endif %}{% endif %}", "{% set x = 1 -%}\n   \n {{ x }}", "{% if n -%}\n  {%- if n %}\n  q{% endif %}{% endif %}", "a {% if n %}\n{% endif %}\n b\n",
    "{{ {'a': {'b': 1}} }}", "{{ {'a': 1}}}", "{{ '}}' }}{{ '%}' }}", "{% set x = '%}' %}{{ x }}", "{{ \"a\n b\" }}", "{{ 'unclosed }}", "{{ n", "{% if n", "{{ }}", "{% %}", "{{ n n }}", "{{ 1 + }}", "{{ (1 }}", "{{ [1 }}", "{{ 1) }}", "{{ ! }}", "{{ n. }}",
    "{% if %}{% endif %}", "{% if n %}", "{% endif %}", "{% else %}", "{% for %}{% endfor %}", "{% for x l %}{% endfor %}", "{% for x in l %}", "{% set %}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% foo %}", "{% endfor %}", "{% if n %}{% endfor %}", "{% macro %}{% endmacro %}", "{{ n | nofilter }}", "{{ n is notest }}",
    "{{ raise_exception('boom') }}", "{% if no %}{{ raise_exception('x') }}{% endif %}ok", "{{ nofunction() }}", "{{ n() }}", "{{ s() }}", "{{ 'a'.nomethod() }}", "{{ n | default(1, 2, 3, 4) }}", "{{ s | replace('a') }}", "{{ s.upper(1) }}", "{{ range() }}", "{{ l | sort(bad=1) }}",
    "{% for m in users %}{{ '<|' + m['name'] + '|>\n' + (m.tag or 'none') }}\n{% endfor %}", "{%- for m in users -%}\n  {{- m.name -}}\n{%- endfor -%}",
    "{% for m in users %}{% if loop.first and m.name != 'X' %}first {% endif %}{{ m.name | trim }}{{ '\n' if not loop.last }}{% endfor %}",
    "{%- set loop_messages = users[1:] %}{%- for m in loop_messages %}{{ m.name }}{%- endfor %}", "{% if (users[0]['age'] == 30) != (1 % 2 == 0) %}x{% endif %}", "{{ users[0].name if users else '' }}",
    "{% for x in range(3) %}{{ x }}{% if x < 2 %},{% endif %}{% endfor %}", "{% for x in l | sort | reverse %}{{ x }}{{ loop.last }}{% endfor %}", "{% for k, v in d | dictsort %}{{ k }}:{{ v }} {% endfor %}", "{% for x in l recursive %}{{ x }}{% endfor %}",
    "{% if n is defined and n is not none %}ok{% endif %}", "{% if not missing %}ok{% endif %}", "{% if missing.x %}{% endif %}", "{% if l | length > 2 and 'b' in d %}y{% endif %}", "{% if n %}\n\n{% endif %}|", "{% set a = [] %}{% for x in l %}{% set a = a + [x] %}{% endfor %}{{ a }}",
    "{% set x = namespace(v='') %}{% for c in s %}{% set x.v = c ~ x.v %}{% endfor %}{{ x.v }}", "{% set x = d %}{{ x.b }}{% set x = {'b': 2} %}{{ x.b }}{{ d.b }}", "{% set m = {'f': {'g': [1, 2]}} %}{{ m.f.g[0] }}{{ m['f'].g | last }}", "{% print n %}",
    "{% block x %}a{% endblock %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% do l.append(1) %}", "{% autoescape true %}<{% endautoescape %}", "{{ super() }}", "{% for x in l %}{{ loop }}{% endfor %}", "{{ range }}", "{{ s.upper }}", "{{ d.items }}",
]

# Integers past 64 bits, and slices of constants that Python cannot slice (which only constant folding lets pass).
REFUSED = {"{{ huge | int }}", "{{ {'a': 1}[1:] }}", "{{ 1[1:] }}", "{{ 1.0[1:] }}"}

# Tags the engine does not have, and values without a reproducible text.
SKIPPED = {"{% print n %}", "{% block x %}a{% endblock %}", "{% autoescape true %}<{% endautoescape %}", "{% for x in l %}{{ loop }}{% endfor %}",
           "{{ range }}", "{{ s.upper }}", "{{ d.items }}", "{% for x in l recursive %}{{ x }}{% endfor %}"}


def render(template):
    try:
        return {"output": _compile_jinja_template(template).render(**VARIABLES)}
    except Exception:
        return {"error": True}


def main():
    templates = ["{{ %s }}" % e for e in EXPRESSIONS] + [t for t in TEMPLATES if t not in SKIPPED]
    for atom in ATOMS:
        for shape in ("{{ %s }}", "{{ [%s] }}", "{{ %s ~ '' }}", "{{ %s | tojson }}", "{{ %s | string }}", "{{ 'T' if %s else 'F' }}", "{{ %s | length }}",
                      "{{ %s | list }}", "{{ %s | first }}", "{{ %s | upper }}", "{{ %s | int }}", "{{ %s | float }}", "{{ %s[0] }}", "{{ %s[1:] }}", "{{ %s.x }}", "{{ -%s }}", "{{ %s | sort }}",
                      "{{ %s | join('-') }}", "{% for x in %s %}{{ x }};{% endfor %}", "{{ %s is iterable }}{{ %s is sequence }}{{ %s is mapping }}{{ %s is number }}"):
            templates.append(shape.replace("%s", atom))
        for other in ("n", "s", "l", "nil", "missing", "f", "yes", "(1, 2)", "d"):
            for op in ("+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", "in", "and", "or", "~"):
                templates.append("{{ %s %s %s }}" % (atom, op, other))
    cases, seen = [], set()
    for template in templates:
        if template in seen:
            continue
        seen.add(template)
        result = render(template)
        if template in REFUSED:
            continue
        if "object at 0x" in result.get("output", "") or "<built-in" in result.get("output", ""):
            continue  # an address, which the engine refuses to print
        cases.append({"template": template, **result})
    with open(os.path.join(HERE, "cases.json"), "w") as f:
        f.write('{"variables": %s,\n"cases": [\n' % json.dumps(VARIABLES))
        f.write(",\n".join(json.dumps(c) for c in cases))
        f.write("\n]}\n")
    print(len(cases), "cases,", sum("error" in c for c in cases), "errors")


main()
