failed=0
check() {
  local name=$1 said
  shift
  if said=$("$@" 2>&1); then echo "ok $name"; else
    echo "failed $name: ${said##*$'\n'}"
    failed=1
  fi
}
