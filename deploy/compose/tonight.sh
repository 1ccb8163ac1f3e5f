#!/bin/sh
# Follows one import until it ends. Then it sends a mail to MAIL_TO, and posts the text to WEBHOOK_URL, if they are set.
#
#   export MAIL_TO=you@example.org WEBHOOK_URL=https://hooks.example.org/import
#   nohup sh deploy/compose/tonight.sh &
#
# The server is the one of the variables RC_IMPORT_EXPORTER_URL, …_USER_ID and …_AUTH_TOKEN. Words after the script's name
# replace the command. All lines of the command are in watch.log.
[ "$#" -gt 0 ] || set -- rc-import-exporter watch --start-within=8h
if [ -z "$MAIL_TO$WEBHOOK_URL" ]; then
  echo "tonight.sh: set MAIL_TO or WEBHOOK_URL" >&2
  exit 2
fi

"$@" >watch.log 2>&1
code=$?
case $code in
  0) end="succeeded" ;;
  2) end="is NOT watched: the configuration is wrong" ;;
  3) end="is done with errors" ;;
  4) end="failed, or was cut off, canceled or discarded" ;;
  5) end="did not start in time" ;;
  130 | 143) exit "$code" ;;              # someone stopped the command; the import goes on
  *) end="is not known: look at it" ;;
esac
last=$(grep -v ': -> ' watch.log | tail -n 1)

[ -z "$MAIL_TO" ] || mail -s "The import $end" "$MAIL_TO" <watch.log
[ -z "$WEBHOOK_URL" ] || curl --silent --show-error --data-urlencode "text=The import $end. $last" "$WEBHOOK_URL"
exit "$code"
