#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Draws numbers that programs wrote as CSV, with gnuplot, as SVG.
#
#   scripts/charts.sh FOLDER
#       what the demo or the recommender left in FOLDER
#   scripts/charts.sh lines FILE.csv CHART.svg X=COLUMN Y=COLUMN [LINE=COLUMN] [NAME=VALUE...]
#       Y over X, one line for each value of LINE; rows of one line with one X count with their mean
#   scripts/charts.sh bars FILE.csv CHART.svg BAR=COLUMN Y=COLUMN [NAME=VALUE...]
#       a bar for each value of BAR, its value beside it
#
# NAME is one of: title, x_label, y_label; only=COLUMN:VALUE (rows that count); times and plus (a value is drawn as
# times * value + plus); prefix (before the name of a line); from and to (limits of the axis of values); log=yes (that axis
# is logarithmic); decimals and unit (of the values beside bars). Cells are numbers or names without a comma; "nan" and
# "inf" leave a gap. Colours are those of Okabe and Ito (2002), which people with any colour blindness tell apart.
set -euo pipefail
export LC_ALL=C # of numbers in awk and gnuplot
script=$(basename -- "$0")

stop() {
  printf '%s: %s\n' "$script" "$*" >&2
  exit 1
}

palette=('#0072b2' '#d55e00' '#009e73' '#cc79a7' '#56b4e9' '#e69f00' '#555555' '#000000')

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# quoted TEXT: a string of gnuplot.
quoted() { printf "'%s'" "${1//\'/\'\'}"; }

# numbers FILE: checks FILE and prints, for each line or bar, its name in quotes and its rows "x y", with two blank lines
# between them. Reads the array `given`.
numbers() {
  awk -F, -v x="${given[X]-}" -v y="${given[Y]}" -v line="${given[LINE]-${given[BAR]-}}" -v only="${given[only]-}" \
    -v times="${given[times]-1}" -v plus="${given[plus]-0}" -v prefix="${given[prefix]-}" '
    function fail(text) { print FILENAME ": " text >"/dev/stderr"; failed = 1; exit 1 }
    function column(name) {
      if (!(name in place)) fail("there is no column \"" name "\"; it has " header)
      return place[name]
    }
    function is_number(text) { return text ~ /^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$/ }
    { sub(/\r$/, "") }
    NR == 1 {
      for (i = 1; i <= NF; ++i) place[$i] = i
      columns = NF
      header = $0
      at_y = column(y)
      if (x != "") at_x = column(x)
      if (line != "") at_line = column(line)
      if (only != "") {
        wanted = substr(only, index(only, ":") + 1)
        at_only = column(substr(only, 1, index(only, ":") - 1))
      }
      next
    }
    NF != columns { fail("line " NR " has " NF " cells, and the first line names " columns " columns") }
    only != "" && $at_only != wanted { next }
    {
      gap = tolower($at_y) ~ /^-?(nan|inf)$/
      if (!gap && !is_number($at_y)) fail("line " NR ": \"" $at_y "\" in column " y " is no number")
      if (x != "" && !is_number($at_x)) fail("line " NR ": \"" $at_x "\" in column " x " is no number")
      name = line == "" ? y : prefix $at_line
      at = x == "" ? 0 : $at_x
      if (!(name in points)) names[++lines] = name
      if (!((name, at) in count)) point[name, ++points[name]] = at
      ++count[name, at]
      if (gap) missing[name, at] = 1
      else sum[name, at] += times * $at_y + plus
    }
    END {
      if (failed) exit 1
      if (lines == 0) fail((only == "" ? "it has no rows" : "no row has " only))
      for (l = 1; l <= lines; ++l) {
        name = names[l]
        gsub(/"/, "", name)
        printf "%s\"%s\"\n", (l > 1 ? "\n\n" : ""), name
        for (p = 1; p <= points[names[l]]; ++p) {
          at = point[names[l], p]
          at_this = names[l] SUBSEP at
          print at, (at_this in missing ? "nan" : sum[at_this] / count[at_this])
        }
      }
    }' "$1"
}

# draw KIND FILE.csv CHART.svg NAME=VALUE...
draw() {
  local kind=$1 file=$2 chart=$3 argument lines height=440 from to i unit longest columns
  local -A given=()
  shift 3
  for argument in "$@"; do
    case $argument in
      X=* | Y=* | LINE=* | BAR=* | title=* | x_label=* | y_label=* | only=*:* | times=* | plus=* | prefix=* | from=* | \
        to=* | log=yes | decimals=* | unit=*) given[${argument%%=*}]=${argument#*=} ;;
      *) stop "'$argument' says nothing about a chart; the first lines of this script list what does" ;;
    esac
  done
  for i in times plus from to decimals; do
    [[ ${given[$i]-0} =~ ^([-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?|\*)$ ]] || stop "'$i=${given[$i]}' is no number"
  done
  [[ -n ${given[Y]-} && -n ${given[X]-}${given[BAR]-} ]] || stop "lines need X=COLUMN Y=COLUMN, bars BAR=COLUMN Y=COLUMN"
  [[ -r $file ]] || stop "$file cannot be read"
  command -v gnuplot >/dev/null || stop "gnuplot is not installed (Debian: gnuplot-nox)"
  numbers "$file" >"$work/numbers" || exit 1
  lines=$(grep -c '^"' "$work/numbers")
  from=${given[from]-*} to=${given[to]-*}
  {
    [[ $kind == lines ]] || height=$((110 + 34 * lines))
    cat <<EOF
set terminal svg size 760,$height noenhanced font 'sans-serif,13' background 'white'
set encoding utf8
set output $(quoted "$work/chart.svg")
set title $(quoted "${given[title]-}") 
set xlabel $(quoted "${given[x_label]-}") textcolor '#444444'
set ylabel $(quoted "${given[y_label]-}") textcolor '#444444'
set border 3 linecolor '#888888'
set tics nomirror textcolor '#444444'
numbers = $(quoted "$work/numbers")
EOF
    # Behind the palette it comes again, dashed.
    for ((i = 0; i < 2 * ${#palette[@]}; ++i)); do
      echo "set linetype $((i + 1)) linecolor '${palette[i % ${#palette[@]}]}' dashtype $((1 + i / ${#palette[@]}))"
    done
    if [[ $kind == lines ]]; then
      longest=$(awk '/^"/ && length > n { n = length } END { print n }' "$work/numbers")
      columns=$((680 / (8 * longest + 54)))
      cat <<EOF
set grid ytics linecolor '#dddddd'
set key tmargin left horizontal Left reverse samplen 2 width 1 maxcols $((columns > 0 ? columns : 1))
${given[log]+set logscale y}
set yrange [$from:$to]
plot for [i = 0:$((lines - 1))] numbers index i using 1:2 with lines linewidth 2 linetype i + 1 \\
  title columnheader(1)
EOF
    else
      unit=${given[unit]-}
      awk -v form="%.${given[decimals]-2}f${unit//%/%%}" '/^"/ { name = $0; getline
        print name, $2, "\"" ($2 == "nan" ? "n/a" : sprintf(form, $2)) "\"" }' "$work/numbers" >"$work/bars"
      cat <<EOF
set grid xtics linecolor '#dddddd'
unset key
${given[log]+set logscale x}
bars = $(quoted "$work/bars")
stats bars using 2 nooutput
start = $([[ $from == '*' ]] && echo "${given[log]+STATS_min / 2}" || echo "$from") + 0
stop = $([[ $to == '*' ]] && echo "STATS_max + 0.12 * (STATS_max - start)" || echo "$to")
set xrange [start:stop > start ? stop : start + 1]
set yrange [$lines - 0.4:-0.6]
set ytics scale 0
set style fill solid
plot bars using 2:0:(start):2:(\$0 - 0.34):(\$0 + 0.34):ytic(1) with boxxyerror linetype 1, \\
  bars using (valid(2) ? \$2 : start):0:3 with labels left offset 0.6,0
EOF
    fi
  } >"$work/commands"
  gnuplot "$work/commands" 2>"$work/said" || stop "gnuplot could not draw $file: $(grep -v '^$' "$work/said" | tail -n 1)"
  mv "$work/chart.svg" "$chart" 2>/dev/null || stop "$chart cannot be written"
}

# of_seeds FILE: in words, how many seeds its rows have.
of_seeds() {
  awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "seed") at = i; next }
    !($at in seen) { seen[$at]; ++n }
    END { print n == 1 ? "one seed" : "mean of " n " seeds" }' "$1"
}
# values FILE COLUMN: those of a column, each once, in order.
values() {
  awk -F, -v column="$2" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == column) at = i; next }
    !($at in seen) { seen[$at]; print $at }' "$1"
}

# of_column FILE COLUMN EXPRESSION: an expression of awk in `least` and `most`, of the numbers in a column.
of_column() {
  awk -F, -v column="$2" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == column) at = i; next }
    NR == 2 || $at < least { least = $at }
    NR == 2 || $at > most { most = $at }
    END { print ('"$3"') }' "$1"
}

# draw_demo CURVES NAME: of CURVES = .../NAME_curves.csv and .../NAME_stacks.csv.
draw_demo() {
  local curves=$1 name=$2 stacks=${1%_curves.csv}_stacks.csv at=${1%_curves.csv} seeds to from epochs
  seeds=$(of_seeds "$curves")
  epochs=$(of_column "$curves" epoch most)
  # The first epochs of a small data set would leave no room for the rest.
  to=$(of_column "$curves" test_accuracy 'most < 1 && 1 - least > 4 * (1 - most) ? 400 * (1 - most) : "*"')
  draw lines "$curves" "${at}_test_error.svg" LINE=stack X=epoch Y=test_accuracy times=-100 plus=100 to="$to" \
    title="$name: test error by epoch, $seeds" x_label=epoch y_label="wrong test rows, %"
  draw lines "$curves" "${at}_training_loss.svg" LINE=stack X=epoch Y=training_loss log=yes \
    title="$name: training loss by epoch, $seeds" x_label=epoch y_label="cross-entropy, penalties not included"
  from=$(of_column "$stacks" test_accuracy 'least > 0.02 ? int(100 * least) - 2 : 0')
  draw bars "$stacks" "${at}_accuracy.svg" BAR=stack Y=test_accuracy times=100 from="$from" decimals=2 unit=" %" \
    title="$name: test accuracy after $epochs epochs, $seeds" x_label="test accuracy (the axis begins at $from %)"
  draw bars "$stacks" "${at}_step_time.svg" BAR=stack Y=step_us from=0 decimals=0 unit=" us" \
    title="$name: time of a training step, $(of_column "$stacks" batch most) rows, one core" \
    x_label="microseconds, median"
}

# draw_recommender CURVES NAME: of CURVES = .../NAME_curves.csv and .../NAME_loads.csv.
draw_recommender() {
  local curves=$1 name=$2 at=${1%_curves.csv} seeds score gate seed
  seeds=$(of_seeds "$curves")
  for score in "auc:area under the curve of watched:AUC" "squared_error:squared error of the rating:stars squared" \
    "accuracy:accuracy:share of right rows"; do
    local column=${score%%:*} rest=${score#*:}
    # A problem has scores of its own; the others are 0 in every row.
    values "$curves" "$column" | grep -qvE '^(0|nan)$' || continue
    draw lines "$curves" "${at}_$column.svg" LINE=gate X=epoch Y="$column" title="$name: ${rest%:*}, $seeds" \
      x_label=epoch y_label="${rest#*:}, validation part"
  done
  draw lines "${at}_loads.csv" "${at}_experts.svg" LINE=gate X=epoch Y=experts_per_row from=0 \
    title="$name: experts that run for a training row, $seeds" x_label=epoch y_label="experts a row"
  # Experts have no order that seeds share, so loads are those of one seed.
  seed=$(values "${at}_loads.csv" seed | head -n 1)
  while IFS= read -r gate; do
    awk -F, -v seed="$seed" 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "seed") at = i } NR == 1 || $at == seed' \
      "${at}_loads.csv" >"${at}_loads.one_seed"
    draw lines "${at}_loads.one_seed" "${at}_loads_${gate/%+/_search}.svg" LINE=expert prefix="expert " only="gate:$gate" \
      X=epoch Y=load from=0 title="$name: loads of the experts, $gate, seed $seed" x_label=epoch \
      y_label="share of all places that are filled"
    rm "${at}_loads.one_seed"
  done < <(values "${at}_loads.csv" gate)
}

case ${1-} in
  lines | bars)
    [[ $# -ge 3 ]] || stop "$1 needs FILE.csv CHART.svg and its columns; the first lines of this script say more"
    draw "$@"
    ;;
  '' | -h | --help) sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" ;;
  *)
    [[ $# -eq 1 ]] || stop "give a folder, or lines or bars with their files; $script --help says more"
    [[ -d $1 ]] || stop "there is no folder $1"
    shopt -s nullglob
    found=("$1"/*_curves.csv)
    [[ ${#found[@]} -ne 0 ]] || stop "$1 holds no *_curves.csv, which the demo and the recommender write"
    command -v gnuplot >/dev/null ||
      stop "gnuplot is not installed, so nothing is drawn: the numbers are in $1/*.csv; install it (Debian:" \
        "gnuplot-nox) and run scripts/$script $1"
    for curves in "${found[@]}"; do
      name=$(basename -- "$curves" _curves.csv)
      case $(head -n 1 "$curves") in
        stack,*) draw_demo "$curves" "$name" ;;
        gate,*) draw_recommender "$curves" "$name" ;;
        *) stop "$curves begins with neither stack nor gate, as those of the demo and the recommender do" ;;
      esac
    done
    ;;
esac
