export DEFAULT_CONF_VERSION=v1

# Lists what is being served: abra app cmd YOURAPPDOMAIN app list_content
list_content() {
  find /usr/share/nginx/html -type f
}
